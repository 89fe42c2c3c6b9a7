import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../../src/cli/program.ts";
import type { SeedsSummary } from "../../src/cli/train-seeds.ts";
import { meanInterval, studentT } from "../../src/measure/mean-interval.ts";
import { npz } from "./npz.ts";
import { cli, temporaryFolder } from "./run-cli.ts";

const folder = temporaryFolder();
const home = process.cwd();
const at = (name: string) => join(folder.path, name);

beforeAll(() => {
  copyFileSync("models/mlp.onnx", at("model.onnx"));
  writeFileSync(
    at("data.npz"),
    npz(24, [1, 28, 28], (index) => index % 10),
  );
  process.chdir(folder.path);
});
afterAll(() => {
  process.chdir(home);
  folder.remove();
});

const flags = [
  ...["train", "model.onnx", "--data", "data.npz", "--batch", "8", "--epochs", "2", "--validation", "0.34"],
  ...["--penalty", "none", "--no-report"],
];
const summaryIn = (name: string) =>
  JSON.parse(readFileSync(at(`${name}.run/seeds.json`), "utf8")) as SeedsSummary;
const model = (name: string) => readFileSync(at(name)).toString("base64");

describe("train --seeds", () => {
  it("does one run for each seed, as --seed does it, and goes on where it was stopped", async () => {
    const whole = await cli(...flags, "--seeds", "7,3", "-o", "whole.onnx", "--json");
    expect(whole).toMatchObject({ code: 0 });
    const { runs, summary, seeds } = summaryIn("whole");
    expect(JSON.parse(whole.stdout)).toEqual(summaryIn("whole"));
    expect([seeds, runs.map(({ seed }) => seed)]).toEqual([
      [7, 3],
      [7, 3],
    ]);
    expect(Object.keys(summary)).toEqual(["loss", "validation.loss", "validation.accuracy"]);
    expect(summary["validation.loss"]).toEqual(meanInterval(runs.map((one) => one.validation?.loss ?? 0)));
    await cli(...flags, "--seed", "3", "-o", "alone.onnx");
    expect(model("alone.onnx")).toBe(model("whole.seed-3.onnx"));
    expect(model("alone.onnx")).not.toBe(model("whole.seed-7.onnx"));

    // Ctrl-C in the second run.
    const controller = new AbortController();
    let said = "";
    const write = (text: string) => {
      said += text;
      if (/seed 3, .*epoch 1/s.test(said)) controller.abort();
    };
    const streams = { stdout: { write }, stderr: { write }, onInterrupt: () => controller.signal };
    expect(await run([...flags, "--seeds", "7,3", "-o", "part.onnx"], streams)).toBe(1);
    expect(said).toMatch(/to go on: sorth-onnx train --resume part.run\n$/);
    expect(summaryIn("part").runs.map(({ seed }) => seed)).toEqual([7]);
    expect(existsSync(at("part.seed-3.onnx"))).toBe(false);
    const resumed = await cli("train", "--resume", "part.run");
    expect(resumed).toMatchObject({ code: 0 });
    expect(resumed.stderr).not.toContain("seed 7,");
    expect(resumed.stdout).toMatch(/validation loss +[\d.]+ +[\d.]+ to [\d.]+ +[\d.]+\n/);
    expect(resumed.stdout).toMatch(/2 of 2 runs, seeds 7, 3\n$/);
    expect(summaryIn("part").summary).toEqual(summary);
    for (const seed of seeds) expect(model(`part.seed-${seed}.onnx`)).toBe(model(`whole.seed-${seed}.onnx`));
    // All have ended: nothing is trained.
    expect((await cli("train", "--resume", "part.run")).stderr).toBe("");
  });

  it.each([
    [["--seeds", "1,2", "--seed", "1"], /'--seeds <numbers>' cannot be used with option '--seed/],
    [["--seeds", "1,1"], /Give each seed once/],
    [["--seeds", "1,x"], /Give a whole number/],
    [["--seeds", "1,2", "-o", "whole.onnx"], /"whole.run" already holds a run/],
    [["--seeds", "1,3", "-o", "whole.onnx", "--checkpoint", "n"], /"whole.seed-3.onnx" already exists/],
    [["--resume", "whole.run", "--seeds", "1"], /--seeds begins new runs/],
    [["--resume", "whole.run", "-o", "x.onnx"], /leave out --output/],
  ])("refuses %j", async (more, says) => {
    const { code, stdout, stderr } = await cli(...flags, ...more);
    expect([code, stdout, stderr]).toEqual([2, "", expect.stringMatching(says)]);
  });
});

it("intervals are those of Student's t", () => {
  // Two-sided 95 % and 99 % points, from tables.
  for (const [degrees, t] of [
    [1, 12.7062],
    [2, 4.3027],
    [3, 3.1824],
    [4, 2.7764],
    [9, 2.2622],
    [30, 2.0423],
  ]) {
    expect(studentT(0.95, degrees ?? 0)).toBeCloseTo(t ?? 0, 4);
  }
  expect(studentT(0.99, 5)).toBeCloseTo(4.0321, 4);
  const { interval, ...rest } = meanInterval([1, 2, 3, 4]);
  expect(rest).toEqual({ runs: 4, mean: 2.5, standardDeviation: Math.sqrt(5 / 3) });
  // 2.5 ∓ 3.182446·1.290994/2, as scipy.stats.t.interval gives it.
  expect(interval?.[0]).toBeCloseTo(0.445739743239121, 12);
  expect(meanInterval([5])).toEqual({ runs: 1, mean: 5 });
});
