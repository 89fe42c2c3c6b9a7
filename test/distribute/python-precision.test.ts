import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { skipWithout } from "../helpers/skip-without.ts";
import { expectNear, missingPython, PythonRuns, quiet, sorth } from "./python-runs.ts";

const runs = new PythonRuns();
const { at, lines, losses, runPython } = runs;
const data = ["--data", at("data.npz")];

beforeAll(() => runs.begin());
afterAll(() => runs.remove());

/** Each step with its scale, and whether its update was left out. */
const scales = (run: string) =>
  lines(run).flatMap(({ event, step, skipped, lossScale }) =>
    event === "step" ? [`${step}: ${lossScale}${skipped ? " skipped" : ""}`] : [],
  );

describe("workers in half precision", () => {
  skipWithout(missingPython);

  it.each([
    { name: "mixed-float16:init-scale=4194304,growth-interval=3", flags: ["--penalty", "none"], skips: 1 },
    { name: "mixed-float16:init-scale=4194304,growth-interval=3", flags: ["--exact"], skips: 1 },
    // Two parameters: the third process keeps none, and follows the scale.
    {
      ...{ name: "mixed-float16:init-scale=4194304,growth-interval=3", skips: 1, several: 3 },
      flags: ["--penalty", "none", "--freeze", "fc1"],
    },
    { name: "mixed-bfloat16", flags: ["--exact"], skips: 0 },
  ])(
    "leave out the updates of one process, with its scales: $name $flags",
    async ({ name, flags, skips, ...other }) => {
      const several = "several" in other ? other.several : 2;
      const run = [
        "--batch",
        "16",
        "--epochs",
        "4",
        "--max-steps",
        "20",
        "--lr",
        "0.01",
        "--precision",
        name,
      ];
      const [model, plain] = [at("model.onnx"), flags.filter((flag) => flag !== "--exact")];
      await sorth("train", model, ...data, ...run, ...plain, "-o", at("half.onnx"), ...quiet, "--force");
      const share = ["-o", at("half"), "--workers", "4", "--quiet", "--force"];
      await sorth("distribute", model, ...run, ...flags, ...share);
      for (const processes of [1, several]) {
        const how = ["--force", ...(processes > 1 ? ["--shard-optimizer"] : [])];
        await runPython("half", processes, ...data, "--checkpoint", `half-${processes}`, ...how);
        expect(scales(`half-${processes}`)).toEqual(scales("half.run"));
        // Half precision rounds sums of other lengths differently.
        expectNear(losses(`half-${processes}`), losses("half.run"), 2e-3);
      }
      expect(scales("half.run").filter((text) => text.endsWith("skipped")).length >= skips).toBe(true);
      expectNear(losses("half-1"), losses(`half-${several}`), 1e-6);
    },
    120_000,
  );
});
