import { expect, it } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { arrayDataset, evaluateModel, Model, namedDataset, sgd, Trainer } from "../../src/index.ts";
import { causalLm } from "../../src/losses/public.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { labels } from "../helpers/lcg.ts";
import { randomFloats, relativeError } from "../helpers/numbers.ts";
import { keepDevice, useGpu } from "../helpers/software-gpu.ts";
import { tokenDecoder, words } from "../helpers/token-decoder.ts";

const missing = useGpu();
keepDevice(missing);

const [samples, length] = [4, 7];

/** Tokens, and a mask that leaves the last ones of some samples out. */
const tokens = namedDataset({
  inputs: {
    input_ids: { data: Int32Array.from(labels("ids", samples * length, words)), shape: [length] },
    attention_mask: {
      data: Int32Array.from({ length: samples * length }, (_, i) => (i % length < 5 + (i % 3) ? 1 : 0)),
      shape: [length],
    },
  },
  labels: { data: Int32Array.from(labels("ids", samples * length, words)), shape: [length] },
});

it("a model on tokens trains whole on WebGPU as on the CPU, and is evaluated there", async (context) => {
  context.skip(missing !== "", missing);
  const objective = causalLm();
  const found = new Map<string, number[]>();
  for (const backend of ["cpu", "webgpu"] as const) {
    const trainer = await Trainer.create(tokenDecoder(), {
      ...{ objective, optimizer: sgd(), learningRate: 0.1, batch: 2, backend, penalties: [] },
      dims: { sequence: length },
    });
    const losses: number[] = [];
    for await (const event of trainer.fit(tokens, { epochs: 2 })) {
      if (event.event === "step") losses.push(event.loss);
    }
    losses.push((await trainer.evaluate(tokens)).loss);
    const trained = trainer.export();
    await trainer.release();
    losses.push((await evaluateModel(trained, tokens, { objective, batch: 2, backend })).loss);
    found.set(backend, losses);
  }
  expect(found.get("webgpu")).toHaveLength(6);
  expect(relativeError(found.get("webgpu") ?? [], found.get("cpu") ?? [])).toBeLessThan(1e-6);
});

it("steps of several lengths share one state on WebGPU, as on the CPU", async (context) => {
  context.skip(missing !== "", missing);
  const [size, most] = [16, 8];
  const counts = Array.from({ length: size * most }, (_, i) =>
    i % most < 2 + (Math.floor(i / most) % 7) ? 1 : 0,
  );
  const column = (numbers: ArrayLike<number>) => ({ data: Int32Array.from(numbers), shape: [most] });
  const texts = namedDataset({
    inputs: { input_ids: column(labels("ids", size * most, words)), attention_mask: column(counts) },
  });
  const run = async (backend: "cpu" | "webgpu", buckets?: readonly number[]) => {
    const trainer = await Trainer.create(tokenDecoder(), {
      ...{ objective: causalLm(), learningRate: 0.01, batch: 2, backend, dims: { sequence: most } },
      ...(buckets && { buckets }),
    });
    const losses: number[] = [];
    for await (const event of trainer.fit(texts, { epochs: 2 })) {
      if (event.event === "step") losses.push(event.loss);
      // The state is read while another session made it, and goes on from there.
      if (event.step === 5) trainer.takeOver(await trainer.readState());
    }
    losses.push((await trainer.evaluate(texts)).loss);
    const state = [...trainer.state().parameters.values()].flatMap((tensor) => tensor.numbers());
    await trainer.release();
    return { losses, state };
  };
  const [cpu, gpu] = [await run("cpu", [4, 6, most]), await run("webgpu", [4, 6, most])];
  expect(gpu.losses).toHaveLength(17);
  expect(relativeError(gpu.losses, cpu.losses)).toBeLessThan(1e-5);
  expect(relativeError(gpu.state, cpu.state)).toBeLessThan(1e-4);
});

it("what WebGPU lacks is written out in evaluations too", async (context) => {
  context.skip(missing !== "", missing);
  const b = new GraphBuilder(22);
  const h = b.op("Celu", [b.op("MatMul", [b.input("x", ["N", 6]), b.weight("w", [6, 3])], "h")], "y");
  const model = Model.fromProto(graphToProto(b.output(h), { irVersion: 9 }));
  const data = arrayDataset(randomFloats("x", 60), Int32Array.from(labels("classes", 10, 3)), [6]);
  const [cpu, gpu] = [
    await evaluateModel(model, data),
    await evaluateModel(model, data, { backend: "webgpu" }),
  ];
  expect(gpu.loss).toBeCloseTo(cpu.loss, 6);
});
