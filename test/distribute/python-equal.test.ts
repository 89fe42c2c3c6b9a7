import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readModel, writeModel } from "../../src/index.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import {
  expectNear,
  type Line,
  missingPython,
  PythonRuns,
  python,
  quiet,
  sorth,
  standalone,
  start,
} from "./python-runs.ts";
import { smallModel } from "./small-model.ts";

const runs = new PythonRuns();
const { at, lines, losses, runPython } = runs;
const data = ["--data", at("data.npz")];

beforeAll(async () => {
  await runs.begin();
  await writeModel(smallModel("batch", true), at("normalized.onnx"));
});
afterAll(() => runs.remove());

describe("processes that train together", () => {
  skipWithout(missingPython);

  it.each([
    { name: "adamw", flags: ["--lr", "0.01", "--penalty", "none"], several: [2, 4], how: [] },
    { name: "exact", flags: ["--lr", "0.01", "--penalty", "som"], several: [2, 4], how: [] },
    {
      name: "sgd",
      flags: [
        ...[
          "--penalty",
          "none",
          "--optimizer",
          "sgd",
          "--momentum",
          "0.9",
          "--lr",
          "0.05",
          "--schedule",
          "cosine:warmup=3",
        ],
        ...["--clip-norm", "0.5", "--group", "fc2:lr=0.02", "--ema", "0.9"],
      ],
      several: [2],
      how: ["--shard-optimizer"],
    },
    {
      // BatchNorm over the joint batch. Not Adam, which turns the rounding of the bias in front of it into whole steps.
      name: "norm",
      flags: ["--penalty", "som", "--optimizer", "sgd", "--lr", "0.05"],
      several: [2, 4],
      how: [],
    },
    {
      name: "half",
      flags: ["--penalty", "none", "--precision", "mixed-bfloat16", "--ema", "0.9", "--accumulate", "2"],
      several: [],
      how: [],
    },
    {
      name: "taught",
      flags: ["--penalty", "none", "--teacher", at("model.onnx"), "--objective", "distillation:alpha=0.5"],
      several: [2],
      how: [],
    },
  ])(
    "equal one process and the joint batch of train: $name",
    async ({ name, flags, several, how }) => {
      const all = ["--batch", "16", "--max-steps", "20", "--epochs", "4", ...flags];
      const run = [...all, "--validation", "0.2"];
      const model = at(name === "norm" ? "normalized.onnx" : "model.onnx");
      await sorth("train", model, ...data, ...run, "-o", at(`${name}.onnx`), ...quiet);
      const exact = ["exact", "norm"].includes(name) ? ["--exact"] : [];
      await sorth("distribute", model, ...run, ...exact, "-o", at(name), "--workers", "4", "--quiet");
      const expected = lines(`${name}.run`);
      for (const processes of [1, ...several]) {
        const own = `${name}-${processes}`;
        await runPython(name, processes, ...data, "--checkpoint", own, "-o", `${own}.onnx`, ...how);
        const actual = lines(own);
        // Half precision rounds sums of other lengths differently.
        const tolerance = name === "half" ? 1e-3 : 1e-5;
        expectNear(losses(own), losses(`${name}.run`), tolerance);
        expect(actual.map(({ event, step }) => `${event} ${step}`)).toEqual(
          expected.map(({ event, step }) => `${event} ${step}`),
        );
        const figures = (all: Line[]) =>
          all.flatMap(({ validation }) => (validation ? [validation.loss] : []));
        expectNear(figures(actual), figures(expected), tolerance);
        const keys = (all: Line[]) => all.map((line) => Object.keys(line).sort().join());
        expect(new Set(keys(actual))).toEqual(new Set(keys(expected)));
        const [mine, theirs] = [await readModel(at(`${own}.onnx`)), await readModel(at(`${name}.onnx`))];
        expect(mine.proto.graph?.node).toEqual(theirs.proto.graph?.node);
        if (name !== "taught") continue;
        // A copy of the teacher goes with the run.
        const on = ["--max-steps", "21", "--epochs", "5", "-o", at("on.onnx"), "--force"];
        await sorth("train", "--resume", at(own), ...on, ...quiet);
      }
    },
    300_000,
  );

  it("gradients that travel in several pieces are those of one piece, to the bit", async () => {
    const run = ["--batch", "16", "--max-steps", "6", "--penalty", "none", "--lr", "0.01"];
    await sorth("distribute", at("model.onnx"), ...run, "-o", at("pieces"), "--workers", "4", "--quiet");
    const program = [
      "import sys",
      `sys.path.insert(0, ${JSON.stringify(at("pieces"))})`,
      "from pathlib import Path",
      "from sorth_distributed import command, graphs",
      "graphs.BUCKET_BYTES = 100",
      "buckets_of = graphs.buckets_of",
      "def several(*words):",
      "    found = buckets_of(*words)",
      "    assert sum(is_gradient for _, is_gradient in found) > 1",
      "    return found",
      "graphs.buckets_of = several",
      `sys.exit(command.main(Path(${JSON.stringify(at("pieces"))})))`,
    ];
    writeFileSync(at("pieces.py"), program.join("\n"));
    const words = [...standalone, "--nproc-per-node", "2", at("pieces.py"), "--quiet", ...data];
    await start(python, [...words, "--checkpoint", "several"], { cwd: runs.path });
    await runPython("pieces", 2, ...data, "--checkpoint", "one");
    expect(losses("several")).toHaveLength(6);
    expect(losses("several")).toEqual(losses("one"));
  }, 120_000);
});
