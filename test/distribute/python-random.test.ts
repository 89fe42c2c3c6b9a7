import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { Model, writeModel } from "../../src/index.ts";
import { cli } from "../cli/run-cli.ts";
import { npyBytes } from "../data/npy-bytes.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { expectNear, missingPython, PythonRuns, quiet, sorth } from "./python-runs.ts";

const runs = new PythonRuns();
const { at, lines, losses, runPython } = runs;
const fixtures = resolve("test/fixtures");
const [image, pictures] = [`${fixtures}/data/image.onnx`, `${fixtures}/data/pictures`];
const texts = `${fixtures}/text`;

/** 48 images of 6 × 8 pixels in 3 classes: bytes with channels first, or floats with channels last. */
function imagesOf(kind: "bytes" | "floats"): Uint8Array {
  const pixels = Array.from({ length: 48 * 144 }, (_, i) => (i * 37 + Math.floor(i / 144) * 11) % 256);
  const labels = Int32Array.from({ length: 48 }, (_, i) => (i * 5 + Math.floor(i / 7)) % 3);
  const x =
    kind === "bytes"
      ? { descr: "|u1", shape: [48, 3, 6, 8], data: Uint8Array.from(pixels) }
      : { descr: "<f4", shape: [48, 6, 8, 3], data: Float32Array.from(pixels, (pixel) => pixel / 255) };
  return zipSync({
    "x.npy": npyBytes(x),
    "y.npy": npyBytes({ descr: "<i4", shape: [48], data: labels }),
  });
}

/**
 * Two layers, and between them numbers drawn at random: for each sample, along another axis, kept or not, and the same for all samples.
 * With `apart`, also for four rows that do not come from the samples.
 */
function noisyModel(apart = false): Model {
  const b = new GraphBuilder(18);
  const float = (value: number) => ({ kind: "float", value }) as const;
  const h = b.op("MatMul", [b.input("x", ["batch", 6]), b.weight("w1", [6, 8])], "h");
  const noisy = b.op("Add", [h, b.op("RandomNormalLike", [h], "noise", { scale: float(0.5) })], "noisy");
  const turned = b.op("Transpose", [noisy], "turned", { perm: { kind: "ints", value: [1, 0] } });
  const wide = b.op("Add", [turned, b.op("RandomUniformLike", [turned], "uniform")], "wide");
  const back = b.op("Transpose", [wide], "back", { perm: { kind: "ints", value: [1, 0] } });
  const kept = b.op("Mul", [back, b.op("Bernoulli", [b.op("Sigmoid", [h], "p")], "keep")], "kept");
  const same = b.op("RandomNormal", [], "same", { shape: { kind: "ints", value: [1, 8] } });
  const shifted = b.op("Add", [kept, same], "shifted");
  let last = shifted;
  if (apart) {
    last = b.op("Concat", [last, b.weight("rows", [4, 8])], "more", { axis: { kind: "int", value: 0 } });
    last = b.op("Add", [last, b.op("RandomNormalLike", [last], "apart")], "last");
  }
  b.output(b.op("MatMul", [last, b.weight("w2", [8, 3])], "logits"));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

beforeAll(async () => {
  await runs.begin();
  await writeModel(noisyModel(), at("noisy.onnx"));
  for (const kind of ["bytes", "floats"] as const) writeFileSync(at(`${kind}.npz`), imagesOf(kind));
});
afterAll(() => runs.remove());

describe("what is drawn at random is what train draws", () => {
  skipWithout(missingPython);

  it.each([
    {
      ...{ name: "bytes", model: image, data: at("bytes.npz"), batch: 12, processes: [1, 3] },
      flags: ["--augment", "flip,crop=2,color=0.3,mixup=0.4", "--validation", "0.25"],
    },
    {
      ...{ name: "floats", model: image, data: at("floats.npz"), batch: 12, processes: [1] },
      flags: ["--augment", "crop=0.25,color=0.2"],
    },
    {
      ...{ name: "pictures", model: image, data: pictures, batch: 6, processes: [1] },
      flags: ["--augment", "flip,crop=0.25,color=0.3"],
    },
    {
      ...{ name: "mixup", model: at("model.onnx"), data: at("data.npz"), batch: 12, processes: [2] },
      flags: ["--augment", "mixup=2", "--schedule", "one-cycle:cycle-momentum=true"],
    },
    {
      ...{ name: "cycle", model: at("model.onnx"), data: at("data.npz"), batch: 12, processes: [1] },
      flags: [
        ...["--optimizer", "sgd", "--momentum", "0.9"],
        ...["--schedule", "one-cycle:cycle-momentum=true,three-phase=true,base-momentum=0.5"],
      ],
    },
    {
      ...{
        name: "masks",
        model: "models/decoder.onnx",
        data: `${texts}/story.txt`,
        batch: 6,
        processes: [1],
      },
      // The loss is the mean over the masked tokens of the joint batch.
      how: ["--exact"],
      flags: [
        ...["--tokenizer", `${texts}/word-pieces`, "--length", "8", "--validation", "0.25"],
        ...["--objective", "masked-lm:probability=0.4"],
      ],
    },
  ])(
    "$name",
    async ({ name, model, data, batch, processes, flags, ...others }) => {
      const how = "how" in others ? others.how : [];
      const run = ["--data", data, "--batch", `${batch}`, "--penalty", "none", "--lr", "0.01", ...flags];
      const length = ["--epochs", "20", "--max-steps", "20"];
      await sorth("train", model, ...run, ...length, "-o", at(`${name}.onnx`), ...quiet);
      await sorth(
        "distribute",
        model,
        ...run,
        ...length,
        ...how,
        "-o",
        at(name),
        "--workers",
        "3",
        "--quiet",
      );
      for (const count of processes) {
        const own = `${name}-${count}`;
        await runPython(name, count, "--data", data, "--checkpoint", own);
        expectNear(losses(own), losses(`${name}.run`), 1e-5);
        const held = (run: string) => lines(run).flatMap(({ validation }) => validation?.loss ?? []);
        expectNear(held(own), held(`${name}.run`), 1e-5);
      }
    },
    120_000,
  );

  it.each(["none", "som"])(
    "a model's own random numbers: 1, 2 and 4 processes equal one, penalty %s",
    async (penalty) => {
      const [data, exact] = [["--data", at("data.npz")], penalty === "som" ? ["--exact"] : []];
      const length = ["--epochs", "20", "--max-steps", "20", "--validation", "0.2"];
      const run = ["--batch", "12", "--penalty", penalty, "--optimizer", "sgd", "--lr", "0.02", ...length];
      const [model, name] = [at("noisy.onnx"), `noisy-${penalty}`];
      await sorth("train", model, ...data, ...run, "-o", at(`${name}-here.onnx`), ...quiet);
      const parts = ["--workers", "4", ...exact, "--quiet"];
      await sorth("distribute", model, ...run, "-o", at(name), ...parts);
      for (const count of [1, 2, 4]) {
        const own = `${name}-${count}`;
        await runPython(name, count, ...data, "--checkpoint", own);
        expectNear(losses(own), losses(`${name}-here.run`), 1e-5);
        const held = (run: string) => lines(run).flatMap(({ validation }) => validation?.loss ?? []);
        expect(held(own).length).toBeGreaterThan(0);
        expectNear(held(own), held(`${name}-here.run`), 1e-5);
      }
    },
    120_000,
  );
});

it("random numbers that are no samples' own are refused for several workers", async () => {
  await writeModel(noisyModel(true), at("apart.onnx"));
  const run = ["distribute", at("apart.onnx"), "-o", at("shared"), "--batch", "12"];
  const { code, stderr } = await cli(...run, "--objective", "mse", "--workers", "2");
  expect(code).toBe(2);
  expect(stderr).toMatch(
    /the random numbers "apart.drawn" are \[16, 8\] for the joint batch and \[10, 8\] for a part of it, so that workers cannot share them: leave --workers out/,
  );
});
