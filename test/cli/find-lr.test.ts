import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../../src/cli/program.ts";
import type { FoundLearningRate } from "../../src/index.ts";
import { npz } from "./npz.ts";
import { cli, snapshot, temporaryFolder } from "./run-cli.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);

beforeAll(() => {
  copyFileSync("models/mlp.onnx", at("m.onnx"));
  writeFileSync(
    at("d.npz"),
    npz(64, [1, 28, 28], (index) => index % 10),
  );
});
afterAll(() => folder.remove());

const find = (...flags: string[]) =>
  cli("find-lr", at("m.onnx"), "--data", at("d.npz"), "--batch", "8", "--threads", "1", ...flags);

describe("find-lr", () => {
  it("prints a suggestion and the range, and writes nothing", async () => {
    const before = snapshot(folder.path);
    const { code, stdout } = await find(
      "--optimizer",
      "sgd",
      "--penalty",
      "none",
      "--steps",
      "30",
      "--max",
      "1",
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^(suggestion: --lr [\d.e-]+|no suggestion: .*)\nthe loss falls fastest at .*\n30 steps with rates from 1e-7 to 1/,
    );
    expect(snapshot(folder.path)).toEqual(before);
  });

  it("has no result, and writes no page, where it is stopped before its first step", async () => {
    let stderr = "";
    const code = await run(["find-lr", at("m.onnx"), "--data", at("d.npz"), "--html", at("stopped.html")], {
      stdout: { write: () => expect.unreachable() },
      stderr: { write: (text) => (stderr += text) },
      onInterrupt: () => AbortSignal.abort(),
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: stopped before the first step, without a result$/m);
    expect(existsSync(at("stopped.html"))).toBe(false);
  });

  it("writes the curve as a page on its own, and prints it as JSON; flags of training have their effect", async () => {
    const flags = ["--steps", "6", "--min", "1e-4", "--max", "1e-2", "--json"];
    const first = await find(...flags, "--html", at("rates.html"));
    expect(first).toMatchObject({ code: 0 });
    const found = JSON.parse(first.stdout) as FoundLearningRate;
    expect(found.points).toHaveLength(6);
    expect(found.points.at(-1)?.learningRate).toBeCloseTo(1e-2, 12);
    const page = readFileSync(at("rates.html"), "utf8");
    expect(page).toContain("<svg");
    expect(page).toContain("learning rate →");
    expect(page).toMatch(/m\.onnx on .*d\.npz, batches of 8, adamw, seed 0, on cpu/);
    expect(page).not.toMatch(/<script|<link|\b(src|href)=|url\(/);
    expect((await find(...flags)).stdout).toBe(first.stdout);
    const changes = [
      ["--objective", "cross-entropy:label-smoothing=0.3"],
      ["--penalty", "none"],
      ["--optimizer", "sgd"],
      ["--seed", "3"],
    ];
    for (const change of changes) {
      const { code, stdout } = await find(...flags, ...change);
      expect([change, code, stdout === first.stdout]).toEqual([change, 0, false]);
    }
  });

  it("looks for the rate of adapters, of a part of the model and of new classes", async () => {
    const flags = ["--steps", "6", "--min", "1e-4", "--max", "1e-2"];
    const points: string[] = [];
    for (const [part, says] of [
      [[], /^(?!.*adapters)/],
      [["--lora", "rank=2"], /adapters of rank 2 beside 2 layers/],
      [["--classes", "12"], /new head: Gemm ".*" has 12 new units/],
      [["--bitfit"], /frozen: fc1.weight/],
      [["--last-blocks", "1", "--classes", "10"], /trained alone: fc2.weight and what comes after it/],
    ] as const) {
      const { code, stdout, stderr } = await find(...flags, "--json", ...part);
      expect([part, code, stderr]).toEqual([part, 0, expect.stringMatching(says)]);
      points.push(JSON.stringify((JSON.parse(stdout) as FoundLearningRate).points));
    }
    expect(new Set(points).size).toBe(points.length);
  });

  it.each([
    [["--lr", "1"], /unknown option '--lr'/],
    [["--schedule", "cosine"], /unknown option '--schedule'/],
    [["--min", "0"], /--min .* Give a number above 0/],
    [["--min", "1", "--max", "0.1"], /max, the last learning rate, must be above min \(1\), not 0.1/],
    [["--ema", "0.9"], /changes no loss of a training step: leave --ema and --swa out/],
    [["--running-variance", "torch"], /changes no loss of a training step: leave --running-variance out/],
    [["--steps", "1"], /the number of steps must be a whole number of 2 or more, not 1/],
    [["--html", "m.onnx"], /m.onnx" already exists; give another name with --html/],
  ])("%j is refused", async (flags, says) => {
    const { code, stdout, stderr } = await find(
      ...flags.map((word) => (word === "m.onnx" ? at(word) : word)),
    );
    expect(stderr).toMatch(says);
    expect([code, stdout]).toEqual([2, ""]);
  });
});
