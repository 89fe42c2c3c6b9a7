import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { graphOf, modelOf } from "../../src/graph/model-graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  buildStep,
  crossEntropy,
  exportCheckpoint,
  Model,
  som,
  Trainer,
  type TrainerOptions,
  type TrainingEvent,
} from "../../src/index.ts";
import { float16ToNumber, numberToFloat16 } from "../../src/onnx/small-types.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { decodeTensors } from "../../src/programs/checkpoint.ts";
import { webgpuBackend } from "../../src/runtime/webgpu-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";
import { keepDevice, useGpu } from "../helpers/software-gpu.ts";
import { losses, network, plain, train } from "./small-run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-mixed-"));
});
afterAll(() => rm(folder, { recursive: true }));

const mixed: TrainerOptions = { ...plain, precision: "mixed", penalties: [{ penalty: som() }] };

async function eventsOf(options: TrainerOptions, data = train, epochs = 2): Promise<TrainingEvent[]> {
  const trainer = await Trainer.create(network(), options);
  const events: TrainingEvent[] = [];
  for await (const event of trainer.fit(data, { epochs })) events.push(event);
  await trainer.release();
  return events;
}

const stepsOf = (events: readonly TrainingEvent[]) =>
  events.flatMap((event) =>
    event.event === "step" ? [{ loss: event.loss, lossScale: event.lossScale, skipped: event.skipped }] : [],
  );

/** Data with huge samples, which are infinite in float16. */
function withHuge(isHuge: (sample: number) => boolean) {
  const x = randomFloats("huge", 64 * 6).map((value, i) => (isHuge(Math.floor(i / 6)) ? 1e6 : value));
  return arrayDataset(Float32Array.from(x), Int32Array.from(randomInts("huge y", 64, 0, 3)), [6]);
}

describe("a run in float16", () => {
  test("several steps in one run give the bits of single ones, left-out updates too", async () => {
    const options: TrainerOptions = { ...mixed, precision: "mixed:init-scale=4e5,growth-interval=3" };
    const single = stepsOf(await eventsOf({ ...options, stepsPerRun: 1 }));
    expect(stepsOf(await eventsOf({ ...options, stepsPerRun: 4 }))).toEqual(single);
    const skips = single.filter(({ skipped }) => skipped).length;
    expect(skips).toBeGreaterThan(0);
    expect(skips).toBeLessThan(single.length / 2);
    expect(new Set(single.map(({ lossScale }) => lossScale)).size).toBeGreaterThan(2);
    // A scale follows from what became of the step before, as GradScaler's.
    let [scale, good] = [4e5, 0];
    for (const { lossScale, skipped } of single) {
      expect(lossScale).toBe(scale);
      good = skipped ? 0 : good + 1;
      if (skipped) scale /= 2;
      else if (good === 3) [scale, good] = [scale * 2, 0];
    }
  });

  test("a batch that overflows is left out: weights, statistics and the epoch's mean stay finite", async () => {
    const trainer = await Trainer.create(network(), { ...mixed, precision: "mixed:init-scale=1024" });
    const events: TrainingEvent[] = [];
    for await (const event of trainer.fit(
      withHuge((sample) => sample === 7),
      { epochs: 1 },
    )) {
      const { parameters, statistics, slots } = await trainer.readState();
      const tensors = [
        ...parameters.values(),
        ...statistics.values(),
        ...[...slots.values()].flatMap((s) => [...s.values()]),
      ];
      for (const tensor of tensors) expect(tensor.numbers().every(Number.isFinite)).toBe(true);
      events.push(event);
    }
    const steps = stepsOf(events);
    expect(
      steps.map(({ skipped, loss }) => [skipped, Number.isNaN(loss)]).filter(([skipped]) => skipped),
    ).toEqual([[true, true]]);
    expect(steps).toHaveLength(8);
    const others = steps.flatMap(({ loss, skipped }) => (skipped ? [] : [loss]));
    const mean = others.reduce((sum, loss) => sum + loss, 0) / others.length;
    expect(events.find(({ event }) => event === "epoch")?.loss).toBeCloseTo(mean, 6);
    await trainer.release();
  });

  test.each([1, 4])("batches that all overflow end the run, %d steps in a run", async (stepsPerRun) => {
    const trainer = await Trainer.create(network(), { ...mixed, stepsPerRun });
    const before = trainer.state().parameters;
    const run = losses(
      trainer,
      withHuge(() => true),
      { epochs: 10 },
    );
    // 65536 / 2^30 is below 1e-4.
    await expect(run).rejects.toThrow(
      /gradients are not finite at step 31, though the loss scale fell to 0\.000061; the state after step 30 is kept: train in float32 \(--precision\), or lower/,
    );
    for (const [name, tensor] of trainer.state().parameters) {
      expect(tensor.numbers()).toEqual(before.get(name)?.numbers());
    }
    expect(trainer.steps).toBe(30);
    await trainer.release();
  });

  test("is refused for a model in float64, and for one without products", async () => {
    const build = (type: "float" | "double") => {
      const b = new GraphBuilder(18);
      const data = type === "double" ? Float64Array.of(1, 2, 3) : Float32Array.of(1, 2, 3);
      const w = b.graph.addInitializer(Tensor.of("w", type, [3], data));
      b.output(b.op("Mul", [b.input("x", [4, 3], type), w], "y"));
      return Model.fromProto(graphToProto(b.graph, { irVersion: 9 }));
    };
    const options = { objective: crossEntropy(), precision: "mixed", trainable: /w/ } as const;
    await expect(buildStep(build("double"), options)).rejects.toThrow(/the parameter "w" is float64/);
    await expect(buildStep(build("float"), options)).rejects.toThrow(
      /mixed precision would have no effect: float16 is for MatMul and Gemm, Conv/,
    );
  });
});

/** The network with all numbers in float16. */
function halfNetwork(): Model {
  const graph = graphOf(network());
  for (const value of graph.values) {
    if (value.type === "float") value.type = "float16";
    if (value.initializer?.type !== "float") continue;
    const bits = Uint16Array.from(value.initializer.numbers(), numberToFloat16);
    value.initializer = Tensor.of(value.name, "float16", value.initializer.dims, bits);
  }
  return modelOf(graph, {}, { irVersion: 8 });
}

describe("a model in float16", () => {
  test.each(["float32", "mixed"] as const)(
    "is trained (%s), resumed bit for bit, and stays float16",
    async (precision) => {
      const options: TrainerOptions = { ...mixed, precision };
      const where = join(folder, precision);
      const model = halfNetwork();
      const whole = await Trainer.create(model, options);
      const expected = await losses(whole, train, { epochs: 2 });
      const stopped = await Trainer.create(model, options);
      const before = await losses(stopped, train, { epochs: 2, maxSteps: 5, checkpoint: where });
      const resumed = await Trainer.resume(where);
      expect([...before, ...(await losses(resumed, train, { epochs: 2 }))]).toEqual(expected);
      expect(equalBytes(resumed.export().bytes, whole.export().bytes)).toBe(true);

      // The checkpoint keeps float32: updates are smaller than float16 can add.
      const { tensors } = decodeTensors(await readFile(join(where, "last.safetensors")), "last");
      expect(new Set([...tensors.values()].map(({ type }) => type))).toEqual(new Set(["float"]));
      const trained = graphOf(await exportCheckpoint(where));
      for (const { name, initializer } of graphOf(model).initializers) {
        const own = trained.value(name)?.initializer;
        expect([name, own?.type]).toEqual([name, "float16"]);
        const masters = tensors.get(name)?.numbers();
        if (masters) expect(own?.numbers()).toEqual(masters.map(numberToFloat16).map(float16ToNumber));
        else expect(own?.numbers()).toEqual(initializer?.numbers());
      }
      expect(trained.value("fc1.weight")?.initializer?.numbers()).not.toEqual(
        graphOf(model).value("fc1.weight")?.initializer?.numbers(),
      );
      for (const trainer of [whole, stopped, resumed]) await trainer.release();
    },
  );

  test("is not written with a weight that float16 does not hold", async () => {
    const trainer = await Trainer.create(halfNetwork(), { ...plain, learningRate: 1e6 });
    trainer.takeOver({ parameters: new Map([["fc3.bias", Tensor.float("fc3.bias", [3], [0, 7e4, 0])]]) });
    expect(() => trainer.export()).toThrow(/"fc3.bias" has grown to 70000, more than .* holds \(float16\)/);
    await trainer.release();
  });
});

const missing = useGpu();
keepDevice(missing);
describe.skipIf(missing !== "")(`on WebGPU${missing && ` (${missing})`}`, () => {
  test("every node of a step in float16 has a kernel", async () => {
    const options = { ...mixed, lower: await webgpuBackend.lowering() };
    const session = await webgpuBackend.openStep(await buildStep(network(), options), {});
    await session.release();
  });

  // The software GPU has no shader-f16.
  test.skipIf(process.env.SORTH_GPU).each([
    ["mixed", /does not compute in float16 .*shader-f16.*train in float32/],
    ["mixed-bfloat16", /WebGPU has no bfloat16/],
  ] as const)("%s is refused where the device lacks it", async (precision, says) => {
    const { threads: _, ...options } = mixed;
    await expect(Trainer.create(network(), { ...options, precision, backend: "webgpu" })).rejects.toThrow(
      says,
    );
  });
});
