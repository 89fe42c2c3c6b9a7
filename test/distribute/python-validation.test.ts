import { readdirSync, writeFileSync } from "node:fs";
import { zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readModel } from "../../src/index.ts";
import { npyBytes } from "../data/npy-bytes.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { expectNear, type Line, missingPython, PythonRuns, quiet, sorth } from "./python-runs.ts";

const runs = new PythonRuns();
const { at, lines, runPython } = runs;
const data = ["--data", at("data.npz")];

beforeAll(() => runs.begin());
afterAll(() => runs.remove());

/** The figures of a validation to six digits: losses of several processes differ in the last ones. */
const rounded = (figures: Line["validation"]): unknown =>
  figures &&
  JSON.parse(JSON.stringify(figures), (_, value) => (typeof value === "number" ? +value.toFixed(5) : value));

const floats = (bytes: Uint8Array | null | undefined): number[] =>
  Array.from(new Float32Array((bytes ?? new Uint8Array()).slice().buffer));

/** Samples with three yes-or-no labels, or three numbers. */
function rowsOf(kind: "yes" | "numbers"): Uint8Array {
  const x = Float32Array.from({ length: 96 * 6 }, (_, i) => ((i * 37) % 97) / 97);
  const y = Float32Array.from({ length: 96 * 3 }, (_, i) => ((i * 29) % 53) / 53);
  const labels = kind === "yes" ? y.map((value) => Number(value > 0.6)) : y;
  return zipSync({
    "x.npy": npyBytes({ descr: "<f4", shape: [96, 6], data: x }),
    "y.npy": npyBytes({ descr: "<f4", shape: [96, 3], data: labels }),
  });
}

describe("workers that validate", () => {
  skipWithout(missingPython);

  const labels = ["yes", "numbers"] as const;
  const tops = "accuracy,top2,precision,recall,f1,auc,confusion";
  it.each([
    { name: "classes", flags: ["--metrics", tops, "--monitor", "f1", "--early-stop", "2", "--keep", "2"] },
    {
      name: "yes",
      flags: [
        ...["--objective", "bce:positive-weight=2", "--metrics", "accuracy,f1,auc"],
        // As torch's, a threshold of 1 or more takes no loss for better, not even the first.
        ...["--schedule", "plateau:patience=0,threshold=2"],
      ],
    },
    {
      name: "numbers",
      flags: [
        "--objective",
        "huber:delta=0.5",
        "--metrics",
        "r2,mae,rmse,mse",
        "--keep",
        "1",
        "--schedule",
        "plateau:monitor=r2,patience=0,threshold=0.5",
      ],
    },
  ])("validate, keep and stop as train does: $name", async ({ name, flags }) => {
    for (const kind of labels) writeFileSync(at(`${kind}.npz`), rowsOf(kind));
    const from = name === "classes" ? data : ["--data", at(`${name}.npz`)];
    const plan = [
      "--batch",
      "16",
      "--epochs",
      "8",
      "--penalty",
      "none",
      "--lr",
      "0.03",
      "--validation",
      "0.25",
    ];
    const [trained, model] = [`${name}-train`, at(`${name}-train.onnx`)];
    await sorth("train", at("model.onnx"), ...from, ...plan, ...flags, "-o", model, ...quiet);
    const share = ["-o", at(`${name}-dir`), "--workers", "2", "--quiet"];
    await sorth("distribute", at("model.onnx"), ...plan, ...flags, ...share);
    const figures = (run: string) =>
      lines(run).flatMap(({ event, step, validation, stopped, kind, learningRate }) =>
        event === "step"
          ? []
          : [{ event, step, stopped, kind, learningRate, validation: rounded(validation) }],
      );
    for (const processes of name === "classes" ? [1, 2] : [1]) {
      const own = `${name}-run-${processes}`;
      await runPython(`${name}-dir`, processes, ...from, "--checkpoint", own, "-o", `${own}.onnx`);
      expect(figures(own)).toEqual(figures(`${trained}.run`));
      const files = (run: string) => readdirSync(at(run)).filter((file) => file.endsWith(".safetensors"));
      expect(files(own)).toEqual(files(`${trained}.run`));
      const weight = async (path: string) => (await readModel(path)).proto.graph?.initializer?.[0]?.rawData;
      const [mine, theirs] = [await weight(at(`${own}.onnx`)), await weight(model)];
      expectNear(floats(mine), floats(theirs), 1e-5);
    }
  });
});
