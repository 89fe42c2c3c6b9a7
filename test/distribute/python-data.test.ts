import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { skipWithout } from "../helpers/skip-without.ts";
import { expectNear, missingPython, PythonRuns, quiet, sorth } from "./python-runs.ts";

const runs = new PythonRuns();
const { at, lines, losses, runPython } = runs;
const data = ["--data", at("data.npz")];

beforeAll(() => runs.begin());
afterAll(() => runs.remove());

describe("data of workers", () => {
  skipWithout(missingPython);

  it.each([
    { name: "classes", label: "label", flags: [] },
    { name: "several", label: "wet, windy,cold", flags: ["--objective", "bce"] },
  ])(
    "a table is read as train reads it: $name",
    async ({ name, label, flags }) => {
      const table = at(`${name}.csv`);
      const truth = (one: boolean) => (one ? "True" : "False");
      const several = (i: number) => [i % 2, truth(i % 3 > 0), (i * 3) % 2].join();
      const row = (i: number) =>
        `${(i * 37) % 11},${i % 4 ? ["red", "blue", "green"][i % 3] : ""},${(i * 0.37) % 1},${truth(i % 5 > 2)}`;
      const rows = Array.from(
        { length: 64 },
        (_, i) => `${row(i)},${name === "classes" ? truth(i % 3 > 0) : several(i)}`,
      );
      const head = `a,color,c,b,${label.replaceAll(" ", "")}`;
      const text = [head, ...rows].map((line) => line.replaceAll(",", ";").replaceAll(".", ",")).join("\n");
      writeFileSync(table, text);
      // Another spelling of the same labels.
      writeFileSync(at("again.csv"), text.replaceAll("True", "true").replaceAll("False", "FALSE"));
      const run = [
        "--batch",
        "16",
        "--penalty",
        "none",
        "--epochs",
        "2",
        "--standardize",
        "--missing",
        "mean",
      ];
      const from = [at("model.onnx"), "--data", table, "--label", label, ...run, ...flags];
      await sorth("train", ...from, "-o", at(`${name}.onnx`), ...quiet);
      await sorth("distribute", ...from, "-o", at(name), "--workers", "2", "--quiet");
      await runPython(name, 1, "--data", at("again.csv"), "--checkpoint", `${name}-1`);
      expectNear(losses(`${name}-1`), losses(`${name}.run`), 1e-5);
    },
    60_000,
  );
  const [images, texts] = ["test/fixtures/data", "test/fixtures/text"];
  const pieces = ["--tokenizer", `${texts}/word-pieces`, "--length", "8"];
  it.each([
    {
      ...{ name: "images", model: `${images}/image.onnx`, source: `${images}/pictures` },
      flags: ["--batch", "6"],
      how: [],
    },
    {
      name: "texts",
      model: `${texts}/classifier.onnx`,
      source: `${texts}/reviews.csv`,
      flags: [...pieces, "--batch", "4"],
      how: [],
    },
    {
      ...{ name: "tokens", model: "models/decoder.onnx", source: `${texts}/story.txt` },
      flags: [...pieces, "--objective", "causal-lm", "--batch", "4"],
      how: [],
    },
    {
      ...{ name: "lists", model: "models/decoder.onnx", source: `${texts}/tokens.jsonl` },
      flags: ["--objective", "causal-lm", "--batch", "4"],
      // Parts of a batch have different numbers of tokens.
      how: ["--exact"],
    },
  ])("$name are converted once, go to workers and back", async ({ name, model, source, flags, how }) => {
    const from = [model, "--data", source, ...flags];
    const run = ["--penalty", "none", "--lr", "0.003", "--epochs", "8", "--max-steps", "20"];
    const held = name === "images" ? [] : ["--validation", "0.25"];
    await sorth("train", ...from, ...run, ...held, "-o", at(`${name}.onnx`), ...quiet);
    const parts = ["--workers", "2", ...how];
    await sorth("distribute", ...from, ...run, ...held, "-o", at(name), ...parts, "--quiet");
    await runPython(name, 1, "--checkpoint", `${name}-1`, "-o", `${name}-1.onnx`);
    expectNear(losses(`${name}-1`), losses(`${name}.run`), 1e-5);
    const last = (path: string) => lines(path).at(-1)?.validation?.loss ?? Number.NaN;
    expect(last(`${name}-1`)).toBeCloseTo(last(`${name}.run`), 5);
    const on = ["--epochs", "12", "--max-steps", "22", ...quiet, "--force"];
    await sorth("train", "--resume", at(`${name}-1`), ...on, "-o", at(`${name}-2.onnx`));
    expect(losses(`${name}-1`)).toHaveLength(22);
  });
  it.each([
    { flags: ["--data", "nothing.npz"], says: "nothing.npz" },
    { flags: [...data, "--max-steps", "0"], says: "--max-steps must be a whole number of 1 or more" },
    { flags: [...data, "-o", "no-folder/x.onnx"], says: "does not exist; create it first" },
    { flags: [...data, "-o", "idx", "--force"], says: "it is a folder; give a file name" },
    { flags: [...data, "-o", "plain/update.onnx", "--force"], says: "belongs to the graphs" },
    {
      flags: [...data, "-o", "best.onnx", "--validation", "0.25", "--early-stop", "2"],
      says: "the weights of best are those of a checkpoint: give --checkpoint",
    },
    { flags: [...data, "--checkpoint", "data.npz"], says: "is a file; give --checkpoint another name" },
    { flags: [...data, "--checkpoint", "plain", "--force"], says: "was written by sorth-onnx distribute" },
    { flags: [...data, "--resume", "plain/state"], says: "was written by sorth-onnx distribute" },
    { flags: [...data, "--resume", "mistyped"], says: "there is no such file" },
    { flags: ["--data", "idx"], says: "cannot be read as an IDX file" },
    {
      flags: [...data],
      how: ["--normalize", "0..1"],
      says: "the run divides pixels by 255, but x holds numbers",
    },
  ])(
    "refuses $flags in one line",
    async ({ flags, says, how = [] }) => {
      mkdirSync(at("idx"), { recursive: true });
      writeFileSync(at("idx/train-images-idx3-ubyte"), Uint8Array.of(0, 0, 8, 3, 0, 0));
      const plain = ["--batch", "8", "-o", at("plain"), "--quiet", "--force"];
      await sorth("distribute", at("model.onnx"), ...plain, ...how);
      const error = await runPython("plain", 1, ...flags).catch(
        (reason: { stderr: string }) => reason.stderr,
      );
      expect(error).toContain(says);
      expect(error.trim().split("\n")).toHaveLength(1);
      expect(existsSync(at("mistyped"))).toBe(false);
    },
    60_000,
  );
});
