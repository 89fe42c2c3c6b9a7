import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  crossEntropy,
  definePenalty,
  exportCheckpoint,
  type FitOptions,
  type Model,
  type Objective,
  type Optimizer,
  sgd,
  so,
  som,
  Trainer,
  type TrainerOptions,
} from "../../src/index.ts";
import { combined } from "../../src/losses/public.ts";
import { joinChunks } from "../../src/onnx/stored.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { chain, decayWeights } from "../../src/optimizers/public.ts";
import { clippings } from "../../src/optimizers/table.ts";
import { decodeTensors, encodeTensors } from "../../src/programs/checkpoint.ts";
import { clouds, losses, network, plain, stoppedAt, train } from "./small-run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-resume-"));
});
afterAll(() => rm(folder, { recursive: true }));

const stopped = (model: Model, own: TrainerOptions, fit: FitOptions, step: number, name: string) =>
  stoppedAt(step, model, own, fit, join(folder, name));

/** Every option away from its default, patterns with flags among them. */
const everything: TrainerOptions = {
  objective: crossEntropy({ labelSmoothing: 0.2 }),
  batch: 8,
  threads: 1,
  optimizer: chain(
    ...clippings.map(({ make }) => make(0.5)),
    sgd({ momentum: 0.8, nesterov: true, weightDecay: 0.01 }),
    decayWeights(0.1, { include: /^FC1/i }),
  ),
  groups: [
    { match: /^FC1/i, learningRate: 0.05, freezeUntil: 12 },
    { match: /fc2/y, learningRate: 0.01 },
  ],
  noDecay: true,
  ema: 0.9,
  learningRate: 0.02,
  schedule: "one-cycle:cycle-momentum=true,base-momentum=0.5,three-phase=true,anneal=linear",
  penalties: [
    { penalty: som({ gamma: 5, lambda1: 3 }), weight: 0.3, include: /^FC[12]/i },
    { penalty: so(), weight: 0.02, exclude: /FC3/i, schedule: "step:every=4,factor=0.5" },
  ],
  penaltyWeight: 0.2,
  mixup: 0.3,
  penaltySchedule: "warmup:steps=5",
  trainable: /(weight|BIAS)/i,
  freeze: /^FC3\.BIAS/i,
  untie: /SHARED/i,
  tie: /SHARED\.BIAS/i,
  batchNorm: "frozen",
  precision: "mixed:init-scale=1e8,growth-interval=4",
  recompute: true,
  checkpointEvery: 1,
  seed: 7,
  stepsPerRun: 2,
  output: "logits",
  metrics: ["f1", "auc"],
};

describe("a run that was stopped", () => {
  test.each([
    ["with every option away from its default", everything, { epochs: 4, validation: 0.2, maxSteps: 21 }],
    [
      "with several losses",
      {
        ...plain,
        objective: combined([
          { objective: crossEntropy({ labelSmoothing: 0.1 }), name: "first", weight: 0.5 },
          { objective: crossEntropy(), output: "logits" },
        ]),
      },
      { epochs: 3, validation: 0.2 },
    ],
    [
      "with batch statistics and torch's variance",
      { ...plain, runningVariance: "torch" } as const,
      { epochs: 4 },
    ],
    [
      "with schedules that follow the validation loss and count epochs",
      {
        ...plain,
        schedule: "plateau:monitor=accuracy,patience=0,threshold=0.5,factor=0.5,warmup=1ep",
        penaltySchedule: "plateau:patience=1,threshold=0.5,cooldown=1",
        penalties: [
          { penalty: som(), schedule: "one-cycle" },
          { penalty: so(), weight: 0.02, schedule: "exponential:factor=0.5" },
        ],
      } as const,
      { epochs: 5, validation: 0.2 },
    ],
  ])("%s goes on with nothing but its folder, bit for bit", async (name, own, fit) => {
    const model = network();
    const whole = await Trainer.create(model, own);
    const expected = await losses(whole, train, fit);
    const { where, before } = await stopped(model, own, fit, 15, name);
    expect(before).toHaveLength(15);

    const resumed = await Trainer.resume(where);
    const after = await losses(resumed, clouds("train", 60));
    expect([...before, ...after]).toEqual(expected);
    expect(equalBytes(resumed.export().bytes, whole.export().bytes)).toBe(true);
    expect(resumed.stepsLeft(train)).toBe(0);
  });

  test("with gradients straight through a quantizer goes on bit for bit", async () => {
    const own: TrainerOptions = { ...plain, straightThrough: true };
    const model = network(["fc1.weight", "fc2.weight"], true);
    const expected = await losses(await Trainer.create(model, own), train, { epochs: 2 });
    const { where, before } = await stopped(model, own, { epochs: 2 }, 5, "straight-through");
    expect([...before, ...(await losses(await Trainer.resume(where), train))]).toEqual(expected);
  });

  test("refuses other data, and another share for validation, unless told", async () => {
    const { where } = await stopped(network(), plain, { epochs: 2, validation: 0.2 }, 7, "other data");
    const resumed = await Trainer.resume(where);
    const others = clouds("others", 60);
    await expect(losses(resumed, others)).rejects.toThrow(/trained on other data: "train" with 60 samples/);
    await expect(losses(resumed, train, { validation: 0 })).rejects.toThrow(/begun with a share of 0.2/);
    expect(await losses(resumed, others, { otherData: true })).toHaveLength(5);
  });

  test("asks for validation data of its own again", async () => {
    const held = clouds("held", 16);
    const { where } = await stopped(network(), plain, { epochs: 2, validation: held }, 3, "own validation");
    const resumed = await Trainer.resume(where);
    await expect(losses(resumed, train)).rejects.toThrow(
      /data of its own, "held" \(16 samples\): give it again/,
    );
    await expect(losses(resumed, train, { validation: clouds("x", 16) })).rejects.toThrow(
      /validated on other/,
    );
    expect(await losses(resumed, train, { validation: clouds("held", 16) })).toHaveLength(11);
  });

  test("goes on with an optimizer, a loss and a penalty of the user's own when they are given again", async () => {
    const slow: Optimizer = {
      ...{ name: "slow", options: {}, slots: ["before"] },
      update: (g, { parameter, gradient, slots: [before = gradient], learningRate }) => ({
        parameter: g.sub(parameter, g.mul(g.add(gradient, before), learningRate)),
        slots: [gradient],
      }),
      reference: ({ parameter, gradient, slots: [before = []], learningRate }) => ({
        parameter: parameter.map((w, i) => w - learningRate * ((gradient[i] ?? 0) + (before[i] ?? 0))),
        slots: [[...gradient]],
      }),
    };
    const loss: Objective = { ...crossEntropy() };
    const nothing = definePenalty({
      ...so.definition,
      name: "mine",
    });
    const own = { optimizer: slow, objective: loss, penalties: [{ penalty: nothing(), weight: 0.1 }] };
    const whole = await Trainer.create(network(), { ...plain, ...own });
    const expected = await losses(whole, train, { epochs: 2 });
    const { where, before } = await stopped(network(), { ...plain, ...own }, { epochs: 2 }, 5, "own parts");
    await expect(Trainer.resume(where)).rejects.toThrow(
      /objective "cross-entropy" is your own: give it again/,
    );
    const { penalties, ...rest } = own;
    await expect(Trainer.resume(where, rest)).rejects.toThrow(/penalty "mine" is your own/);
    await expect(Trainer.resume(where, { objective: loss, penalties })).rejects.toThrow(/optimizer "slow"/);
    const resumed = await Trainer.resume(where, own);
    expect([...before, ...(await losses(resumed, train))]).toEqual(expected);
  });
});

/** A checkpoint as older versions wrote it. */
async function madeOld(where: string): Promise<void> {
  const path = join(where, "last.safetensors");
  const { tensors, metadata } = decodeTensors(await readFile(path), path);
  const options =
    '{"numbers":{"batch":8,"threads":1},"objective":"cross-entropy","optimizer":{"name":"adamw","options":{"beta1":0.9,"beta2":0.999,"epsilon":1e-8,"weightDecay":0.01}},"penalties":[],"patterns":{"freeze":"^fc3"},"functions":[]}';
  await writeFile(path, joinChunks(encodeTensors(tensors, { options, position: metadata.position ?? "" })));
}

describe("a checkpoint of an older version", () => {
  test("goes on, says what it did not keep, and is exported", async () => {
    const own = { ...plain, freeze: /^fc3/ };
    const whole = await Trainer.create(network(), own);
    const expected = await losses(whole, train, { epochs: 2 });
    const { where, before } = await stopped(network(), own, { epochs: 2 }, 5, "old");
    await madeOld(where);
    const said: string[] = [];
    const resumed = await Trainer.resume(where, { onMessage: (message) => said.push(message) });
    expect(said).toContainEqual(
      expect.stringMatching(/older version, which stored no options of the objective/),
    );
    expect(equalBytes((await exportCheckpoint(where)).bytes, resumed.export().bytes)).toBe(true);
    expect([...before, ...(await losses(resumed, train, { epochs: 2 }))]).toEqual(expected);
  });
});

describe("what a checkpoint holds", () => {
  test("best and last are exported, and loaded into a trainer", async () => {
    const where = join(folder, "best");
    const trainer = await Trainer.create(network(), { ...plain, learningRate: 0.3 });
    const validated: number[] = [];
    const models: Uint8Array[] = [];
    for await (const event of trainer.fit(train, { epochs: 6, validation: 0.3, checkpoint: where })) {
      if (event.event !== "epoch") continue;
      validated.push(event.validation?.loss ?? 0);
      models.push(trainer.export().bytes);
    }
    const best = models[validated.indexOf(Math.min(...validated))] ?? new Uint8Array();
    const last = models.at(-1) ?? new Uint8Array();
    // Else the two could not be told apart.
    expect(equalBytes(best, last)).toBe(false);
    expect(equalBytes((await exportCheckpoint(where, { from: "best" })).bytes, best)).toBe(true);
    expect(equalBytes((await exportCheckpoint(where)).bytes, last)).toBe(true);
    await trainer.load(where, "best");
    expect(equalBytes(trainer.export().bytes, best)).toBe(true);
  });

  test("a run without held-out samples has no best: what to take is said", async () => {
    const { where } = await stopped(network(), plain, { epochs: 1 }, 3, "without best");
    await expect(exportCheckpoint(where, { from: "best" })).rejects.toThrow(/--validation.*--from last/);
  });

  // safetensors counts bytes: letters of other scripts are longer than one.
  test.each(["é", "重み", "Ω→𝒲", "1"])("a weight named %s", async (name) => {
    const { where } = await stopped(network([name, `${name}.m`]), plain, { epochs: 1 }, 3, `named ${name}`);
    const bytes = await readFile(join(where, "last.safetensors"));
    expect(Number(bytes.readBigUInt64LE(0)) % 8).toBe(0);
    const resumed = await Trainer.resume(where);
    expect(await losses(resumed, train)).toHaveLength(4);
    expect(resumed.state().parameters.has(name)).toBe(true);
  });

  test("a tensor named __proto__, and none named as the format names its texts", () => {
    const one = new Map([["__proto__", Tensor.float("__proto__", [1], [5])]]);
    const file = joinChunks(encodeTensors(one, { a: "b" }));
    const { tensors, metadata } = decodeTensors(file, "f");
    expect([[...tensors.keys()], tensors.get("__proto__")?.numbers(), metadata]).toEqual([
      ...[["__proto__"], [5], { a: "b" }],
    ]);
    const taken = new Map([["__metadata__", Tensor.float("__metadata__", [1], [5])]]);
    expect(() => encodeTensors(taken, {})).toThrow(/cannot hold a tensor named "__metadata__"/);
  });

  test("tensors out of place are read too: other writers do not align them", () => {
    const header = Buffer.from('{"é":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}');
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const file = Buffer.concat([length, header, Buffer.from(Float32Array.of(3, -4).buffer)]);
    expect((8 + header.length) % 4).not.toBe(0);
    expect(decodeTensors(file, "f").tensors.get("é")?.numbers()).toEqual([3, -4]);
  });

  test("damaged files are refused, each in a line that says what is wrong", async () => {
    const { where } = await stopped(network(), plain, { epochs: 2 }, 9, "damaged");
    const path = join(where, "last.safetensors");
    const { tensors, metadata } = decodeTensors(new Uint8Array(await readFile(path)), path);
    const refused = async (
      change: (file: { tensors: Map<string, Tensor>; metadata: Record<string, string> }) => void,
    ) => {
      const file = { tensors: new Map(tensors), metadata: { ...metadata } };
      change(file);
      await writeFile(path, joinChunks(encodeTensors(file.tensors, file.metadata)));
      return expect(Trainer.resume(where)).rejects;
    };
    const position = (change: object) => (file: { metadata: Record<string, string> }) => {
      file.metadata.position = JSON.stringify({ ...JSON.parse(metadata.position ?? ""), ...change });
    };
    await (await refused((f) => f.tensors.delete("fc1.weight.m"))).toThrow(/it has no "fc1.weight.m"/);
    await (await refused((f) => f.tensors.delete("bn.mean"))).toThrow(/it has no "bn.mean"/);
    await (await refused((f) => f.tensors.set("extra", Tensor.float("extra", [1], [0])))).toThrow(
      /"extra" that the run does not train/,
    );
    await (
      await refused((f) => f.tensors.set("bn.mean", Tensor.float("bn.mean", [2, 4], new Float32Array(8))))
    ).toThrow(/"bn.mean" is float\[2,4\] in it, and float\[8\] in the model/);
    for (const change of [
      { step: [-1] },
      { step: -1 },
      { step: 2.5 },
      { step: null },
      { loss: "x" },
      { counted: 10 },
    ])
      await (await refused(position(change))).toThrow(/where the run stands cannot be read/);
    await (await refused((f) => Object.assign(f.metadata, { position: "null" }))).toThrow(/cannot be read/);
    await (await refused((f) => Object.assign(f.metadata, { fit: '{"epochs":0}' }))).toThrow(
      /how the run was fitted/,
    );
    for (const weights of ["{", "{}", '"a"', "[1]", "null"])
      await (await refused((f) => Object.assign(f.metadata, { weights }))).toThrow(/its tensors are weights/);
    for (const averages of ["{", "[]", '"a"', '{"a":1}', "null"])
      await (await refused((f) => Object.assign(f.metadata, { averages }))).toThrow(/tensors are averages/);
    await (await refused((f) => Object.assign(f.metadata, { options: "[]" }))).toThrow(/options are damaged/);
    const newer = JSON.stringify({ ...JSON.parse(metadata.options ?? ""), version: 9 });
    await (await refused((f) => Object.assign(f.metadata, { options: newer }))).toThrow(/newer version/);
    for (const header of [
      "null",
      "[1]",
      '{"a":1}',
      '{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
    ]) {
      const text = Buffer.from(header);
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(text.length));
      await writeFile(path, Buffer.concat([length, text]));
      await expect(Trainer.resume(where)).rejects.toThrow(/damaged one|holds no training run/);
    }
  });
});

test("a run's folder gets its model once; later checkpoints write the state alone", async () => {
  const trainer = await Trainer.create(network(), plain);
  const where = join(folder, "once");
  await trainer.save(where);
  const first = await stat(join(where, "model.onnx"));
  await trainer.save(where);
  expect((await stat(join(where, "model.onnx"))).ino).toBe(first.ino);
  await trainer.save(join(folder, "other"));
  await trainer.save(where);
  await trainer.release();
  const resumed = await Trainer.resume(where);
  await resumed.release();
});
