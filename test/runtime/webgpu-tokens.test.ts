import { expect, it } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { arrayDataset, evaluateModel, Model, namedDataset, sgd, Trainer } from "../../src/index.ts";
import { causalLm } from "../../src/losses/public.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { labels } from "../helpers/lcg.ts";
import { randomFloats, relativeError } from "../helpers/numbers.ts";
import { keepDevice, useGpu } from "../helpers/software-gpu.ts";

const missing = useGpu();
keepDevice(missing);

const [samples, length, words] = [4, 7, 24];

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

/** Scores of the next token from the tokens, their places and the token before. */
function decoder(): Model {
  const b = new GraphBuilder(21);
  const [ids, mask] = ["input_ids", "attention_mask"].map((name) =>
    b.input(name, ["batch", "sequence"], "int64"),
  ) as [Value, Value];
  const one = b.int64("one", 1);
  const places = b.op("Mul", [b.op("CumSum", [mask, one], "sums"), mask], "places");
  const word = b.op("Gather", [b.weight("words", [words, 6]), ids], "word");
  const place = b.op("Gather", [b.weight("positions", [16, 6]), places], "place");
  const cut = [b.int64("start", [0]), b.int64("end", [-1]), b.int64("axis", [1])];
  const before = b.op("Pad", [b.op("Slice", [ids, ...cut], "cut"), b.int64("pads", [0, 1, 0, 0])], "before");
  const known = b.op("And", [b.op("Greater", [before, one], "g"), b.op("Equal", [mask, one], "e")], "known");
  const shown = b.op(
    "Unsqueeze",
    [b.op("Cast", [known], "shown", { to: 1 }), b.int64("last", [2])],
    "weight",
  );
  const sum = b.op("Mul", [b.op("Add", [word, place], "sum"), shown], "hidden");
  const scores = b.op("MatMul", [sum, b.weight("head", [6, words])], "logits");
  return Model.fromProto(graphToProto(b.output(scores), { irVersion: 9 }));
}

it("a model on tokens trains whole on WebGPU as on the CPU, and is evaluated there", async (context) => {
  context.skip(missing !== "", missing);
  const objective = causalLm();
  const found = new Map<string, number[]>();
  for (const backend of ["cpu", "webgpu"] as const) {
    const trainer = await Trainer.create(decoder(), {
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
