import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { encodeModel, Model, so, som, Trainer, type TrainerOptions } from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { transformationOf } from "../../src/optimizers/optimizer.ts";
import {
  accumulate,
  adafactor,
  adamw,
  averageWeights,
  chain,
  clipByGlobalNorm,
  decayWeights,
  type GradientTransformation,
  lamb,
  nadam,
  type Optimizer,
} from "../../src/optimizers/public.ts";
import { buildEvaluation } from "../../src/programs/evaluation.ts";
import { initialTensors } from "../../src/programs/initial-state.ts";
import { modelPorts } from "../../src/programs/state-layout.ts";
import { buildStep } from "../../src/programs/step.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { clouds, losses, plain, train } from "./small-run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-forms-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A network that reorders its weights before it reads them, as exporters and convolutions by products do. */
function network(): Model {
  const b = new GraphBuilder(18);
  const x = b.input("x", ["batch", 6]);
  const turned = (name: string, weight: Value, perm: readonly number[]) =>
    b.op("Transpose", [weight], `${name}.turned`, { perm });
  const reshaped = (name: string, weight: Value, dims: readonly number[]) =>
    b.op("Reshape", [weight, b.int64(`${name}.dims`, dims)], `${name}.reshaped`);
  const layer = (name: string, h: Value, weight: Value) =>
    b.op("Tanh", [b.op("MatMul", [h, weight], `${name}.product`)], name);

  const linear = b.weight("linear.weight", [8, 6]);
  let h = b.op("MatMul", [x, turned("linear", linear, [1, 0])], "linear.product");
  h = b.op("Tanh", [b.op("Add", [h, b.weight("linear.bias", [8])], "linear.sum")], "linear");
  // It has no gradient, so it stays an initializer.
  const gate = b.op("MatMul", [x, turned("gate", b.weight("gate.weight", [8, 6]), [1, 0])], "gate");
  const open = b.op("Greater", [gate, b.weight("level", [1])], "is");
  h = b.op("Mul", [h, b.op("Cast", [open], "open", { to: 1 })], "gated");
  const kernel = turned("kernel", b.weight("kernel.weight", [4, 2, 2, 2]), [2, 3, 1, 0]);
  h = layer("kernel", h, reshaped("kernel", kernel, [8, 4]));
  const twice = b.weight("twice.weight", [4, 4]);
  h = layer("first", h, turned("first", twice, [1, 0]));
  h = layer("second", h, turned("second", twice, [1, 0]));
  // Its readers disagree, so it keeps the model's form.
  const mixed = b.weight("mixed.weight", [4, 4]);
  h = layer("straight", layer("across", h, turned("across", mixed, [1, 0])), mixed);
  const last = reshaped("last", b.weight("last.weight", [3, 2, 2]), [3, 4]);
  b.graph.addOutput(b.op("MatMul", [h, turned("last", last, [1, 0])], "logits"));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

/** The same optimizer, which permits no other form than the model's. */
function strict(optimizer: Optimizer): GradientTransformation {
  const { treatment: _, ...rest } = transformationOf(optimizer);
  return rest;
}

const optimizers: Record<string, Optimizer> = {
  adamw: adamw({ weightDecay: 0.1 }),
  "a slot of the run": nadam(),
  "norms of single parameters": lamb(),
  everything: chain(
    accumulate(2, clipByGlobalNorm(0.5), adamw()),
    decayWeights(0.1, { include: /linear/ }),
    averageWeights(0.9),
  ),
};
const held = clouds("held", 24);
const reorderedWeights = ["kernel.weight", "last.weight", "linear.weight", "twice.weight"];
const reordered = (trainer: Trainer) =>
  trainer.step.ports.parameters.filter(({ layout }) => layout).map(({ name }) => name);

/** The numbers of a state by name, as bytes. */
function bytesOf(trainer: Trainer): Record<string, Uint8Array> {
  const { parameters, slots, shared, statistics } = trainer.state();
  const all = [...parameters, ...statistics, ...(shared ?? [])];
  for (const [name, own] of slots) for (const [slot, tensor] of own) all.push([`${name}.${slot}`, tensor]);
  return Object.fromEntries(all.map(([name, tensor]) => [`${name} [${tensor.dims}]`, tensor.bytes.slice()]));
}

const options = (optimizer: Optimizer): TrainerOptions => ({ ...plain, optimizer, learningRate: 0.01 });
const fit = { epochs: 2, maxSteps: 9 };

test.each(Object.entries(optimizers))("weights stored as they are read, %s", async (name, optimizer) => {
  const forms = [optimizer, strict(optimizer)];
  const whole = [];
  for (const form of forms) {
    const trainer = await Trainer.create(network(), options(form));
    const start = { state: bytesOf(trainer), exported: encodeModel(trainer.export()) };
    whole.push({ trainer, start, losses: await losses(trainer, train, fit) });
  }
  const [own, other] = whole as [(typeof whole)[0], (typeof whole)[0]];
  expect(reordered(own.trainer).sort()).toEqual(reorderedWeights);
  expect(reordered(other.trainer)).toEqual([]);
  expect(own.start).toEqual(other.start);
  expect(new Set(own.losses).size).toBe(own.losses.length);
  own.losses.forEach((loss, i) => {
    expect(loss).toBeCloseTo(other.losses[i] ?? Number.NaN, 6);
  });
  const [a, b] = [await own.trainer.evaluate(held), await other.trainer.evaluate(held)];
  expect(a.loss).toBeCloseTo(b.loss, 6);
  // The shapes of the file.
  const { parameters } = own.trainer.state();
  for (const { name, dims } of own.trainer.export().proto.graph?.initializer ?? []) {
    const tensor = parameters.get(name ?? "");
    if (tensor) expect(tensor.dims).toEqual(dims?.map(Number));
  }

  // Checkpoints have the model's form, so that both forms continue from either.
  for (const [i, form] of forms.entries()) {
    const where = join(folder, `${name} ${i}`);
    const begun = await Trainer.create(network(), options(form));
    const before = await losses(begun, train, { ...fit, maxSteps: 4 });
    await begun.save(where);
    for (const next of forms) {
      const resumed = await Trainer.resume(where, { optimizer: next });
      expect(bytesOf(resumed)).toEqual(bytesOf(begun));
      if (next === form) {
        expect([...before, ...(await losses(resumed, train, { maxSteps: 9 }))]).toEqual(whole[i]?.losses);
        expect(bytesOf(resumed)).toEqual(bytesOf((whole[i] as (typeof whole)[0]).trainer));
      }
      await resumed.release();
    }
    await begun.release();
  }
  for (const { trainer } of whole) await trainer.release();
});

test("an optimizer that reads shapes sees the model's form", async () => {
  const trainer = await Trainer.create(network(), options(adafactor()));
  expect(reordered(trainer)).toEqual([]);
  await trainer.release();
});

test("penalties on reordered weights and on responses have the same gradients", async () => {
  const penalties = [{ penalty: so() }, { penalty: som(), weight: 0.5 }];
  const runs = [adamw(), strict(adamw())].map(async (optimizer) => {
    const trainer = await Trainer.create(network(), { ...options(optimizer), penalties });
    const found = { reordered: reordered(trainer).sort(), losses: await losses(trainer, train, fit) };
    await trainer.release();
    return found;
  });
  const [own, other] = await Promise.all(runs);
  expect(own?.reordered).toEqual(["gate.weight", ...reorderedWeights]);
  own?.losses.forEach((loss, i) => {
    expect(loss).toBeCloseTo(other?.losses[i] ?? Number.NaN, 5);
  });
});

test("state of another size is refused with the model's shape", async () => {
  const trainer = await Trainer.create(network(), options(adamw()));
  const { parameters } = trainer.state();
  const other = parameters.get("linear.bias") as Tensor;
  expect(() => trainer.takeOver({ parameters: new Map([["linear.weight", other]]) })).toThrow(
    '"linear.weight" is float[8,6]: float[8] cannot replace it',
  );
  trainer.takeOver({ parameters });
  expect(trainer.state().parameters).toEqual(parameters);
  await trainer.release();
});

test("steps for loops of one's own, and evaluation on a device, have forms that their ports name", async () => {
  const model = network();
  const own = { ...plain, optimizer: adamw() };
  expect((await buildStep(model, own, nodeProbe)).ports.parameters.filter(({ layout }) => layout)).toEqual(
    [],
  );
  const step = await buildStep(model, { ...own, lower: { passes: [] } }, nodeProbe);
  const x = Tensor.float("x", [8, 6], randomFloats("device x", 8 * 6));
  const results = [step.ports, modelPorts(step.ports)].map(async (ports) => {
    const graph = await buildEvaluation(model, own, ports, nodeProbe);
    const state = initialTensors({ ...step, ports });
    const inputs = new Set(graph.model.proto.graph?.input?.map(({ name }) => name));
    const feeds = new Map([...state].filter(([name]) => inputs.has(name)));
    feeds.set("x", x);
    return [...(await nodeProbe.run(graph.model.bytes, feeds)).values()].map((tensor) => tensor.numbers());
  });
  const [onDevice, onHost] = await Promise.all(results);
  expect(onDevice?.flat().length).toBe(24);
  expect(onDevice).toEqual(onHost);
});
