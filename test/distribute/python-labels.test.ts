import { writeFileSync } from "node:fs";
import { zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cli } from "../cli/run-cli.ts";
import { npyBytes } from "../data/npy-bytes.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { expectNear, missingPython, PythonRuns, quiet, sorth } from "./python-runs.ts";

const runs = new PythonRuns();
const { at, runPython } = runs;

beforeAll(() => runs.begin());
afterAll(() => runs.remove());

/** 24 samples, one label of which is spoilt. */
function writeLabels(name: string, width: number, whole: boolean, spoilt: number): void {
  const count = 24 * width;
  const label = (i: number) => (width === 1 ? i % 3 : i % width === Math.floor(i / width) % width ? 1 : 0);
  const numbers = Array.from({ length: count }, (_, i) => (i === 9 ? spoilt : label(i)));
  const shape = width === 1 ? [24] : [24, width];
  const y = whole
    ? { descr: "<i4", shape, data: Int32Array.from(numbers) }
    : { descr: "<f4", shape, data: Float32Array.from(numbers) };
  const x = { descr: "<f4", shape: [24, 6], data: Float32Array.from({ length: 144 }, (_, i) => (i % 7) / 7) };
  writeFileSync(at(name), zipSync({ "x.npy": npyBytes(x), "y.npy": npyBytes(y) }));
}

const classes = /y holds (-?\d+), but the model has 3 classes \(0 to 2\): .*--ignore-index/;

describe("labels that the loss cannot take are refused before the first step, as by train", () => {
  skipWithout(missingPython);

  it.each([
    { name: "no class", flags: [], width: 1, whole: true, spoilt: 7, said: classes },
    { name: "below 0", flags: [], width: 1, whole: true, spoilt: -1, said: classes },
    // Without the data, distribute could not know that train leaves this label out.
    { name: "uncounted", flags: [], width: 1, whole: true, spoilt: -100, said: classes, trains: true },
    {
      name: "no whole number",
      flags: [],
      width: 1,
      whole: false,
      spoilt: 0.5,
      said: /save them as integers/,
    },
    {
      name: "bce",
      flags: ["--objective", "bce"],
      width: 3,
      whole: false,
      spoilt: 5,
      said: /y holds 5, but bce/,
    },
    {
      ...{ name: "mse", flags: ["--objective", "mse"], width: 1, whole: true, spoilt: 0 },
      said: /y has 1 numbers for each sample, and the objective mse takes 3/,
    },
    {
      name: "kl",
      flags: ["--objective", "kl"],
      width: 3,
      whole: false,
      spoilt: 3,
      said: /y holds 3, but that is the sum/,
    },
    {
      ...{ name: "shares", flags: ["--labels", "probabilities"], width: 3, whole: false, spoilt: -0.5 },
      said: /y holds -0.5, but shares of classes/,
    },
  ])(
    "$name",
    async ({ name, flags, width, whole, spoilt, said, ...other }) => {
      const [data, folder] = [at(`${name}.npz`), name.replaceAll(" ", "-")];
      writeLabels(`${name}.npz`, width, whole, spoilt);
      const run = [at("model.onnx"), "--batch", "12", "--penalty", "none", ...flags];
      const { code } = await cli("train", ...run, "--data", data, "-o", at(`${folder}.onnx`), ...quiet);
      expect(code).toBe("trains" in other ? 0 : 1);
      await sorth("distribute", ...run, "-o", at(folder), "--workers", "2", "--quiet");
      await expect(runPython(folder, 1, "--data", data)).rejects.toThrow(said);
    },
    60_000,
  );

  it("labels at places that a mask leaves out are any, for train and workers", async () => {
    const count = Array.from({ length: 24 * 4 }, (_, i) => (i % 3 === 0 ? 0 : 1));
    const ofMask = BigInt64Array.from(count, BigInt);
    const labels = Int32Array.from(count, (counts, i) => (counts ? i % 5 : [77, -1][i % 2]) as number);
    const x = Float32Array.from({ length: 24 * 12 }, (_, i) => (i % 7) / 7);
    const arrays = {
      "x.npy": npyBytes({ descr: "<f4", shape: [24, 4, 3], data: x }),
      "mask.npy": npyBytes({ descr: "<i8", shape: [24, 4], data: ofMask }),
      "labels.npy": npyBytes({ descr: "<i4", shape: [24, 4], data: labels }),
    };
    writeFileSync(at("masked.npz"), zipSync(arrays));
    const run = [
      "--objective",
      "cross-entropy:mask=mask",
      "--class-axis",
      "last",
      "--batch",
      "12",
      "--penalty",
      "none",
    ];
    const model = "test/fixtures/objectives/sequence.onnx";
    await sorth("train", model, "--data", at("masked.npz"), ...run, "-o", at("masked.onnx"), ...quiet);
    await sorth("distribute", model, ...run, "-o", at("masked"), "--workers", "2", "--exact", "--quiet");
    await runPython("masked", 1, "--data", at("masked.npz"), "--checkpoint", "masked-1");
    expectNear(runs.losses("masked-1"), runs.losses("masked.run"), 1e-5);
  }, 60_000);

  it("-100 is left out by both where distribute reads the data", async () => {
    writeLabels("left.npz", 1, true, -100);
    const run = [at("model.onnx"), "--data", at("left.npz"), "--batch", "12", "--penalty", "none"];
    await sorth("train", ...run, "-o", at("left.onnx"), ...quiet);
    await sorth("distribute", ...run, "-o", at("left"), "--workers", "2", "--exact", "--quiet");
    await runPython("left", 1, "--data", at("left.npz"), "--checkpoint", "left-1");
    expectNear(runs.losses("left-1"), runs.losses("left.run"), 1e-5);
  }, 60_000);
});
