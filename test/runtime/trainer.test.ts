import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  adamw,
  arrayDataset,
  crossEntropy,
  type Dataset,
  inject,
  Model,
  readModel,
  sgd,
  som,
  strip,
  Trainer,
  type TrainerOptions,
  type TrainingEvent,
} from "../../src/index.ts";
import { decodeModelProto, encodeModelProto } from "../../src/onnx/codec.ts";
import { onnx } from "../../src/onnx/schema.js";
import { Tensor } from "../../src/onnx/tensor.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { accumulate } from "../../src/optimizers/public.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";

const features = 8;
const classes = 3;

/** Three overlapping clouds. */
function clouds(name: string, size: number): Dataset {
  const y = Int32Array.from(randomInts(`${name} y`, size, 0, classes));
  const x = randomFloats(`${name} x`, size * features);
  for (let i = 0; i < size; i++) {
    for (const j of [0, 1]) {
      const at = i * features + 3 * j + (y[i] ?? 0);
      x[at] = (x[at] ?? 0) + 1.5;
    }
  }
  return arrayDataset(x, y, [features], { name });
}

/** An MLP with BatchNormalization and, for a ratio, Dropout. */
function network(options: { dropout?: number } = {}): Model {
  const b = new GraphBuilder(18);
  const x = b.input("x", ["batch", features]);
  let h = b.op("Gemm", [x, b.weight("fc1.weight", [features, 16]), b.weight("fc1.bias", [16])], "fc1");
  const vector = (name: string, value: number) =>
    b.graph.addInitializer(Tensor.float(name, [16], new Float32Array(16).fill(value)));
  h = b.op(
    "BatchNormalization",
    [h, vector("bn.weight", 1), vector("bn.bias", 0), vector("bn.mean", 0), vector("bn.var", 1)],
    "bn",
  );
  h = b.op("Relu", [h], "relu");
  if (options.dropout !== undefined) {
    const ratio = b.graph.addInitializer(Tensor.float("ratio", [], [options.dropout]));
    h = b.op("Dropout", [h, ratio], "drop");
  }
  b.graph.addOutput(
    b.op("Gemm", [h, b.weight("fc2.weight", [16, classes]), b.weight("fc2.bias", [classes])], "logits"),
  );
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

const options = {
  objective: crossEntropy(),
  batch: 16,
  learningRate: 1e-2,
  threads: 1,
  seed: 3,
} satisfies TrainerOptions;
const train = clouds("train", 200);
const held = clouds("held", 77);
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-trainer-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function collect(events: AsyncIterable<TrainingEvent>): Promise<TrainingEvent[]> {
  const list: TrainingEvent[] = [];
  for await (const event of events) list.push(event);
  return list;
}

const figures = (events: readonly TrainingEvent[]) =>
  events.map(({ event, step, epoch, loss, penalty }) => ({ event, step, epoch, loss, penalty }));

describe("fit", () => {
  test("learns, and yields a step, an epoch and an end event in order", async () => {
    const trainer = await Trainer.create(network(), options);
    const before = await trainer.evaluate(held);
    const events = await collect(trainer.fit(train, { epochs: 3, validation: held }));
    const after = await trainer.evaluate(held);
    expect(after.loss).toBeLessThan(0.7 * before.loss);
    expect(after.accuracy).toBeGreaterThan(0.8);
    expect(events.filter(({ event }) => event === "step")).toHaveLength(3 * 12);
    expect(events.filter(({ event }) => event === "epoch").map(({ epoch }) => epoch)).toEqual([1, 2, 3]);
    expect(events.at(-1)).toMatchObject({ event: "end", step: 36, validation: after });
    await trainer.release();
  });

  test("the same seed gives the same bits, another seed others", async () => {
    const run = async (seed: number) => {
      const trainer = await Trainer.create(network({ dropout: 0.3 }), { ...options, seed });
      await collect(trainer.fit(train, { epochs: 2 }));
      const { bytes } = trainer.export();
      await trainer.release();
      return bytes;
    };
    const first = await run(3);
    expect(equalBytes(first, await run(3))).toBe(true);
    expect(equalBytes(first, await run(4))).toBe(false);
  });

  test("a run resumed in the middle of an epoch goes on bit for bit", async () => {
    const own: TrainerOptions = {
      ...options,
      optimizer: adamw({ weightDecay: 0.1 }),
      penalties: [{ penalty: som({ gamma: 5 }), weight: 0.5, include: /fc1/ }],
      schedule: "cosine:warmup=5",
      penaltySchedule: "warmup:steps=10",
    };
    const model = network({ dropout: 0.25 });
    const whole = await Trainer.create(model, own);
    const expected = await collect(whole.fit(train, { epochs: 3 }));
    const first = await Trainer.create(model, own);
    // Schedules look at the whole run: it is stopped, not planned shorter.
    const controller = new AbortController();
    const before: TrainingEvent[] = [];
    for await (const event of first.fit(train, { epochs: 3, signal: controller.signal })) {
      before.push(event);
      if (event.step === 17) controller.abort();
    }
    expect(before.at(-1)).toMatchObject({ event: "end", stopped: "aborted", step: 17 });
    const where = join(folder, "resume");
    await first.save(where);
    expect((await readdir(where)).sort()).toEqual(["last.safetensors", "model.onnx"]);
    const second = await Trainer.resume(where);
    expect(second.steps).toBe(17);
    const after = await collect(second.fit(train, { epochs: 3 }));
    expect(figures([...before.slice(0, -1), ...after])).toEqual(figures(expected));
    expect(equalBytes(second.export().bytes, whole.export().bytes)).toBe(true);
  });

  test("a run of a model with external data is saved with them, and resumed", async () => {
    const [source, where] = [join(folder, "external"), join(folder, "external-run")];
    await mkdir(source, { recursive: true });
    const proto = decodeModelProto(network().bytes);
    const weights: Uint8Array[] = [];
    for (const tensor of proto.graph?.initializer ?? []) {
      const bytes = tensor.rawData as Uint8Array;
      const offset = weights.reduce((sum, { length }) => sum + length, 0);
      weights.push(bytes);
      tensor.rawData = new Uint8Array();
      tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
      tensor.externalData = [
        { key: "location", value: "weights.bin" },
        { key: "offset", value: String(offset) },
        { key: "length", value: String(bytes.length) },
      ];
    }
    await writeFile(join(source, "weights.bin"), Buffer.concat(weights));
    await writeFile(join(source, "model.onnx"), encodeModelProto(proto));
    const first = await Trainer.create(await readModel(join(source, "model.onnx")), options);
    await collect(first.fit(train, { epochs: 1 }));
    await first.save(where);
    await rm(source, { recursive: true });
    const second = await Trainer.resume(where);
    const next = (trainer: Trainer) => collect(trainer.fit(train, { epochs: 2 }));
    expect(figures(await next(second))).toEqual(figures(await next(first)));
    await second.save(where);
  });

  test("checkpoints are written each epoch, the best by validation loss", async () => {
    const where = join(folder, "checkpoints");
    const trainer = await Trainer.create(network(), options);
    const events = await collect(trainer.fit(train, { epochs: 2, validation: 0.2, checkpoint: where }));
    expect(events.filter(({ event }) => event === "checkpoint").length).toBeGreaterThanOrEqual(3);
    expect((await readdir(where)).sort()).toEqual(["best.safetensors", "last.safetensors", "model.onnx"]);
  });

  test.each([
    ["each batch updates", sgd()],
    ["updates of three batches", accumulate(3, sgd())],
  ])("a loss that is no number ends the run and keeps the state before it: %s", async (_, optimizer) => {
    const trainer = await Trainer.create(network(), { ...options, optimizer, learningRate: 0.01 });
    await collect(trainer.fit(train, { epochs: 1 }));
    const good = trainer.export().bytes;
    const poisoned: Dataset = {
      ...train,
      fill: (rows, x, y) => {
        train.fill(rows, x, y);
        x[5] = Number.NaN;
      },
    };
    await expect(collect(trainer.fit(poisoned, { epochs: 2 }))).rejects.toThrow(
      /became NaN at step 13; the state after step 12 is kept/,
    );
    expect(equalBytes(trainer.export().bytes, good)).toBe(true);
    expect(trainer.steps).toBe(12);
  });

  test("parameters that overflow end the run without being kept", async () => {
    const trainer = await Trainer.create(network(), { ...options, optimizer: sgd(), learningRate: 1e38 });
    await expect(collect(trainer.fit(train, { epochs: 2 }))).rejects.toThrow(/lower the learning rate/);
    const graph = trainer.export().proto.graph;
    for (const tensor of graph?.initializer ?? []) {
      expect(Tensor.fromProto(tensor).numbers().every(Number.isFinite), tensor.name ?? "").toBe(true);
    }
  });

  test("a state that is broken within an epoch never replaces a good checkpoint", async () => {
    const where = join(folder, "broken");
    const trainer = await Trainer.create(network(), {
      ...options,
      optimizer: sgd({ weightDecay: 3e38 }),
      learningRate: 1e3,
    });
    await trainer.save(where);
    const callbacks = [{ onStepEnd: () => trainer.save(where) }];
    await expect(collect(trainer.fit(train, { epochs: 2, callbacks }))).rejects.toThrow(
      /after step \d, "\S+" holds (NaN|-?Infinity) at .*: this state is not saved.* stays as it was/,
    );
    // A resumption refuses a broken checkpoint.
    expect((await Trainer.resume(where)).steps).toBeLessThan(trainer.steps);
  });

  test("frozen parameters stay as they are", async () => {
    const model = network();
    const trainer = await Trainer.create(model, { ...options, freeze: /^fc1/ });
    expect(trainer.step.ports.parameters.map(({ name }) => name)).toEqual([
      "bn.weight",
      "bn.bias",
      "fc2.weight",
      "fc2.bias",
    ]);
    await collect(trainer.fit(train));
    const numbers = (m: Model, name: string) =>
      Tensor.fromProto(m.proto.graph?.initializer?.find((t) => t.name === name) ?? {}).numbers();
    expect(numbers(trainer.export(), "fc1.weight")).toEqual(numbers(model, "fc1.weight"));
    expect(numbers(trainer.export(), "fc2.weight")).not.toEqual(numbers(model, "fc2.weight"));
  });

  test("labels out of range and samples of another shape are refused", async () => {
    const trainer = await Trainer.create(network(), options);
    const labels = arrayDataset(new Float32Array(64 * features), new Int32Array(64).fill(7), [features]);
    await expect(collect(trainer.fit(labels))).rejects.toThrow(/label 7.*3 classes/);
    const narrow = arrayDataset(new Float32Array(64 * 5), new Int32Array(64), [5]);
    await expect(collect(trainer.fit(narrow))).rejects.toThrow(/\[5\].*\[16, 8\]/);
  });
});

describe("evaluation and export", () => {
  test("every sample counts once: 77 samples in batches of 16 as ONNX Runtime gives them one by one", async () => {
    const trainer = await Trainer.create(network(), options);
    await collect(trainer.fit(train));
    const result = await trainer.evaluate(held);
    const exported = trainer.export();
    const x = new Float32Array(held.size * features);
    const y = new Int32Array(held.size);
    held.fill(
      Array.from({ length: held.size }, (_, i) => i),
      x,
      y,
    );
    const outputs = await nodeProbe.run(
      exported.bytes,
      new Map([["x", Tensor.of("x", "float", [held.size, features], x)]]),
    );
    const logits = outputs.get("logits")?.numbers() ?? [];
    let loss = 0;
    let correct = 0;
    for (let i = 0; i < held.size; i++) {
      const row = logits.slice(i * classes, (i + 1) * classes);
      const label = y[i] ?? 0;
      loss += Math.log(row.reduce((s, v) => s + Math.exp(v), 0)) - (row[label] ?? 0);
      if (row.indexOf(Math.max(...row)) === label) correct++;
    }
    expect(result.samples).toBe(77);
    expect(result.accuracy).toBe(correct / 77);
    expect(result.loss).toBeCloseTo(loss / 77, 5);
  });

  test("only the weights of the file change, and running statistics are among them", async () => {
    const model = network();
    const trainer = await Trainer.create(model, options);
    await collect(trainer.fit(train));
    const exported = trainer.export();
    const [a, b] = [model.proto.graph, exported.proto.graph];
    expect(b?.node).toEqual(a?.node);
    const changed = (b?.initializer ?? []).filter(
      (t, i) => !equalBytes(t.rawData ?? new Uint8Array(), a?.initializer?.[i]?.rawData ?? new Uint8Array()),
    );
    expect(changed.map(({ name }) => name)).toEqual((a?.initializer ?? []).map(({ name }) => name));
  });

  test("a model with a block trains with its penalty and is exported without it", async () => {
    const model = network();
    const injected = await inject(model, {
      penalties: [{ penalty: som({ gamma: 3 }), weight: 0.7, include: /fc1/ }],
    });
    const [own, given] = [
      await Trainer.create(injected, options),
      await Trainer.create(model, {
        ...options,
        penalties: [{ penalty: som({ gamma: 3 }), weight: 0.7, include: /fc1/ }],
      }),
    ];
    const [a, b] = [await collect(own.fit(train)), await collect(given.fit(train))];
    expect(figures(a)).toEqual(figures(b));
    expect(a[0]?.penalty).toBeGreaterThan(0);
    expect(equalBytes(own.export().bytes, given.export().bytes)).toBe(true);
    const kept = own.export({ keepPenalty: true });
    expect(kept.proto.graph?.output?.map(({ name }) => name)).toEqual(["logits", "sorth_penalty"]);
    expect(equalBytes(strip(kept).bytes, own.export().bytes)).toBe(true);
    await expect(Trainer.create(injected, { ...options, penalties: [{ penalty: som() }] })).rejects.toThrow(
      /strip/,
    );
  });

  test("the sample models train", async () => {
    for (const [name, shape] of [
      ["mlp", [1, 28, 28]],
      ["cnn", [1, 28, 28]],
      ["pointnet", [3, 128]],
    ] as const) {
      const size = shape.reduce<number>((a, b) => a * b, 1);
      const y = Int32Array.from(randomInts(name, 32, 0, 10));
      // The label is in the size of the numbers.
      const x = randomFloats(name, 32 * size).map((value, i) => value * (1 + (y[Math.floor(i / size)] ?? 0)));
      const data = arrayDataset(x, y, shape);
      const trainer = await Trainer.create(await readModel(`models/${name}.onnx`), {
        ...options,
        penalties: [{ penalty: som() }],
        penaltyWeight: 0.01,
      });
      const events = await collect(trainer.fit(data, { epochs: 20 }));
      expect(events.at(-1)?.loss, name).toBeLessThan(0.7 * (events[0]?.loss ?? 0));
    }
  });
});
