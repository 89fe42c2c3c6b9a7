import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  buildSplitStep,
  buildStep,
  crossEntropy,
  differentiate,
  type Model,
  readModel,
  sgd,
  stepLoop,
  Trainer,
  writeModel,
} from "../../src/index.ts";
import { distillation } from "../../src/losses/public.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { inlineExternal } from "../../src/onnx/inline-external.ts";
import { onnx } from "../../src/onnx/schema.js";
import { externalReference, Tensor } from "../../src/onnx/tensor.ts";
import { inMappedForm } from "../../src/runtime/data-folder-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";

const frozen = "frozen.weight";
const options = {
  objective: crossEntropy(),
  batch: 4,
  freeze: /^frozen/,
  trainable: /^(gain|head)\./,
} as const;
let folder: string;
let source: string;
let outside: Model;
let inside: Model;

/** x · gain → MatMul with 64 KiB of frozen numbers in another file → Relu → MatMul with a head. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-external-"));
  source = join(folder, "source");
  await mkdir(source);
  const b = new GraphBuilder(18);
  const scaled = b.op("Mul", [b.input("x", ["N", 128]), b.weight("gain.weight", [128])], "scaled");
  const hidden = b.op("MatMul", [scaled, b.weight(frozen, [128, 128])], "hidden");
  const positive = b.op("Relu", [hidden], "positive");
  b.output(b.op("MatMul", [positive, b.weight("head.weight", [128, 3])], "y"));
  const proto = graphToProto(b.graph, { irVersion: 9 });
  const tensor = proto.graph?.initializer?.find(({ name }) => name === frozen) as onnx.TensorProto;
  const data = tensor.rawData as Uint8Array;
  await writeFile(join(source, "weights.bin"), Buffer.concat([Buffer.alloc(64), data]));
  tensor.rawData = new Uint8Array();
  tensor.dataLocation = onnx.TensorProto.DataLocation.EXTERNAL;
  tensor.externalData = Object.entries({ location: "weights.bin", offset: "64" }).map(([key, value]) => ({
    ...{ key, value },
  }));
  await writeFile(join(source, "model.onnx"), encodeModelProto(proto));
  outside = await readModel(join(source, "model.onnx"));
  inside = inlineExternal(outside);
});
afterAll(() => rm(folder, { recursive: true }));

const x = randomFloats("x", 4 * 128);
const feeds = () => ({
  x: new ort.Tensor("float32", Float32Array.from(x), [4, 128]),
  labels: new ort.Tensor("int32", Int32Array.of(0, 1, 2, 1), [4]),
});
const run = async (model: string | Uint8Array) => {
  const session = await ort.InferenceSession.create(model as string, { intraOpNumThreads: 1 });
  const outputs = await session.run(feeds());
  await session.release();
  return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, data]));
};

describe("frozen weights in another file stay there", () => {
  test.each([["beside the model"], ["in another folder"]])("a gradient graph %s", async (where) => {
    const target = where === "beside the model" ? source : join(folder, "elsewhere");
    await mkdir(target, { recursive: true });
    const { model } = await differentiate(outside, options);
    const path = join(target, "grad.onnx");
    await writeModel(model, path);
    expect([...(await readModel(path)).externalLocations]).toEqual(["weights.bin"]);
    expect((await stat(path)).size).toBeLessThan(16 * 1024);
    expect(await readFile(join(target, "weights.bin"))).toEqual(await readFile(join(source, "weights.bin")));
    const whole = (await differentiate(inside, options)).model;
    expect(whole.externalLocations.size).toBe(0);
    expect(await run(path)).toEqual(await run(whole.bytes));
  });

  test("another file of that name is an error, and nothing is written", async () => {
    const target = join(folder, "clash");
    await mkdir(target);
    await writeFile(join(target, "weights.bin"), "other");
    const { model } = await differentiate(outside, options);
    await expect(writeModel(model, join(target, "grad.onnx"))).rejects.toThrow(/exists with other content/);
    expect(await readdir(target)).toEqual(["weights.bin"]);
  });

  test("steps: whole, as a loop, split", async () => {
    const step = await buildStep(outside, { ...options, optimizer: sgd() });
    const split = await buildSplitStep(outside, { ...options, optimizer: sgd() });
    const models = { step: step.model, loop: stepLoop(step).model, split: split.gradients };
    for (const [name, model] of Object.entries(models)) {
      const path = join(source, `${name}.onnx`);
      await writeModel(model, path);
      expect([...model.externalLocations]).toEqual(["weights.bin"]);
      const session = await ort.InferenceSession.create(path);
      await session.release();
    }
    expect(split.update.externalLocations.size).toBe(0);
  });

  test("training gives the same bits as with the weights inside the file", async () => {
    const y = Int32Array.from(randomInts("labels", 8, 0, 3));
    const data = arrayDataset(randomFloats("samples", 8 * 128), y, [128], { name: "samples" });
    const trained = async (model: Model) => {
      const trainer = await Trainer.create(model, { ...options, threads: 1, seed: 1 });
      const events = [];
      for await (const event of trainer.fit(data, { epochs: 2, validation: data })) events.push(event);
      const weights = (await trainer.readState()).parameters;
      const exported = trainer.export();
      await trainer.release();
      return { weights, exported, events };
    };
    const [there, here] = [await trained(outside), await trained(inside)];
    expect(there.weights).toEqual(here.weights);
    expect([...there.exported.externalLocations]).toEqual(["weights.bin"]);
    expect(inlineExternal(there.exported).proto.graph?.initializer).toHaveLength(3);
  });
});

test("a teacher's large weights stay in their file, beside the model and elsewhere: no session holds them", async () => {
  const elsewhere = join(folder, "students");
  await mkdir(elsewhere);
  const b = new GraphBuilder(18);
  b.output(b.op("MatMul", [b.input("x", ["N", 128]), b.weight("small.weight", [128, 3])], "y"));
  await writeFile(join(elsewhere, "student.onnx"), encodeModelProto(graphToProto(b.graph, { irVersion: 9 })));
  await cp(join(source, "model.onnx"), join(elsewhere, "model.onnx"));
  await cp(join(source, "weights.bin"), join(elsewhere, "weights.bin"));
  const small = await readModel(join(elsewhere, "student.onnx"));
  const student = await readModel(join(elsewhere, "model.onnx"));
  const x = arrayDataset(
    Float32Array.from(randomFloats("x", 8 * 128)),
    Int32Array.from(randomInts("y", 8, 0, 3)),
    [128],
  );
  const objective = distillation();
  const files = [];
  const losses = [];
  for (const [model, teacher] of [
    [await readModel(join(source, "model.onnx")), outside],
    [small, outside],
    [student, outside],
    [student, inside],
  ] as const) {
    const trainer = await Trainer.create(model, {
      batch: 4,
      trainable: /small|head/,
      objective,
      teacher,
      stepsPerRun: 1,
    });
    const { model: step } = trainer.step;
    const form = inMappedForm(step);
    const initializers = form.proto.graph?.initializer ?? [];
    const outer = initializers.flatMap((one) => externalReference(one)?.location ?? []);
    files.push({ outer, bytes: form.bytes.length < 128 * 128 * 4 });
    const first = [];
    for await (const event of trainer.fit(x, { epochs: 1 }))
      if (event.event === "step") first.push(event.loss);
    losses.push(first);
    await trainer.release();
    // Written, a step holds the teacher of another folder.
    if (model !== small) continue;
    await writeModel(step, join(folder, "taught.onnx"));
    const written = await readModel(join(folder, "taught.onnx"));
    const large = (written.proto.graph?.initializer ?? []).filter(
      ({ rawData }) => rawData?.length === 65_536,
    );
    expect(large.map((tensor) => Tensor.fromProto(tensor).data)).toEqual([
      Float32Array.from(randomFloats(frozen, 128 * 128)),
    ]);
  }
  const [there, here] = ["source/weights.bin", "students/weights.bin"];
  expect(files).toEqual([
    { outer: ["weights.bin", "weights.bin"], bytes: true },
    { outer: ["weights.bin"], bytes: true },
    { outer: [here, there], bytes: true },
    // A teacher in memory is part of the graph.
    { outer: ["weights.bin"], bytes: false },
  ]);
  expect(losses[2]).toEqual(losses[3]);
});
