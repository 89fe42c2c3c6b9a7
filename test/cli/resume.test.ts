import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { run } from "../../src/cli/program.ts";
import { npz } from "./npz.ts";
import { cli, snapshot, temporaryFolder } from "./run-cli.ts";

let folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
const label = (index: number) => index % 10;

beforeEach(() => {
  folder = temporaryFolder();
  copyFileSync("models/mlp.onnx", at("model.onnx"));
  copyFileSync("models/cnn.onnx", at("teacher.onnx"));
  writeFileSync(at("data.npz"), npz(40, [1, 28, 28], label));
  writeFileSync(
    at("own.mjs"),
    "export default { name: 'samples', begin: (n = 0) => ({ add: () => void (n += 1), result: () => n }) };",
  );
});
afterEach(() => folder.remove());

/** Runs a command and stops it, as Ctrl-C does, when a text is first told. */
async function interrupted(when: string, ...argv: string[]): Promise<string> {
  const controller = new AbortController();
  let stderr = "";
  const code = await run(argv, {
    stdout: { write: () => true },
    stderr: {
      write: (text) => {
        stderr += text;
        if (text.includes(when)) controller.abort();
      },
    },
    onInterrupt: () => controller.signal,
  });
  expect(code).toBe(1);
  return stderr;
}

const losses = (name: string) =>
  readFileSync(at(`${name}.run/run.jsonl`), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { event: string; loss: number })
    .flatMap(({ event, loss }) => (event === "step" ? [loss] : []));

const validationsOf = (name: string) =>
  readFileSync(at(`${name}.run/run.jsonl`), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { event: string; validation?: object })
    .flatMap(({ event, validation }) => (event === "epoch" ? [validation] : []));

/** Flags away from their defaults, those of the run and of the training. */
const flags = () => [
  ...["--data", at("data.npz"), "--epochs", "3", "--validation", "0.2", "--batch", "4", "--threads", "1"],
  ...["--optimizer", "sgd", "--momentum", "0.9", "--lr", "0.002", "--schedule", "cosine:warmup=4"],
  ...[
    "--penalty",
    "so:weight=0.01,include=fc1",
    "--freeze",
    "fc2.bias",
    "--seed",
    "5",
    "--batch-norm",
    "frozen",
  ],
  ...["--precision", "mixed:growth-interval=5", "--checkpoint-every", "2"],
  ...["--steps-per-run", "2", "--no-report", "--from", "best"],
  ...["--augment", "flip,crop=3,mixup=0.4"],
  ...["--keep", "2", "--early-stop", "3", "--minimum-change", "0.001"],
  ...["--weight-decay", "0.1", "--no-decay", "--swa", "4:every=3"],
  ...["--group", "^fc2:lr=0.004,freeze-until=9", "--group", "logits:weight-decay=0.2"],
  ...["--metrics", `f1,auc,${at("own.mjs")}`],
  ...["--teacher", `${at("teacher.onnx")}:logits`, "--objective", "distillation:temperature=2,alpha=0.7"],
];

describe("train --resume", () => {
  it("goes on as the message says, and ends as the run that was not stopped", async () => {
    const whole = await cli("train", at("model.onnx"), ...flags(), "-o", at("whole.onnx"));
    expect(whole).toMatchObject({ code: 0 });
    expect(whole.stderr).toMatch(/weights of step \d+, where the validation loss was lowest/);
    const said = await interrupted("epoch 2", "train", at("model.onnx"), ...flags(), "-o", at("part.onnx"));
    const [, advice = ""] = /to go on: sorth-onnx (.*)\n$/.exec(said) ?? [];
    expect(advice).toBe(`train --resume ${at("part.run")}`);
    copyFileSync(at("model.onnx"), at("teacher.onnx"));
    expect(await cli(...advice.split(" "))).toMatchObject({
      ...{
        code: 2,
        stderr: expect.stringMatching(/teacher\.onnx" is another model than the one with which/),
      },
    });
    // The run has its own copies of the model and the teacher; the data lie where they lay.
    for (const name of ["model.onnx", "teacher.onnx"]) rmSync(at(name));
    const resumed = await cli(...advice.split(" "));
    expect(resumed).toMatchObject({ code: 0 });
    expect(losses("part")).toEqual(losses("whole"));
    expect(losses("part")).toHaveLength(24);
    expect(readFileSync(at("part.onnx")).equals(readFileSync(at("whole.onnx")))).toBe(true);

    const ends = ["part", "whole"].map((name) => validationsOf(name));
    expect(ends[0]).toEqual(ends[1]);
    expect(ends[0]?.at(-1)).toMatchObject({ metrics: { f1: expect.any(Number), samples: 8 } });
    const files = (name: string) => readdirSync(at(`${name}.run`)).sort();
    expect(files("part")).toEqual(files("whole"));
    const last = (name: string) => readFileSync(at(`${name}.run/last.safetensors`));
    expect(last("part").equals(last("whole"))).toBe(true);

    const again = await cli("train", "--resume", at("part.run"), "--force");
    expect(again).toMatchObject({ code: 2, stdout: "" });
    expect(again.stderr).toMatch(
      /has done all its 24 steps: give --epochs or --max-steps .* sorth-onnx export/,
    );
    const more = await cli("train", "--resume", at("part.run"), "--epochs", "4", "--force", "--json");
    expect(JSON.parse(more.stdout)).toMatchObject({ step: 32, epoch: 4, from: "best" });
  });

  it("goes on epoch by epoch after it was stopped early, or to its end", async () => {
    const still = ["--data", at("data.npz"), "--batch", "4", "--lr", "0", "--penalty", "none", "--no-report"];
    const stops = ["--validation", "0.2", "--epochs", "5", "--early-stop", "1"];
    const stopped = await cli("train", at("model.onnx"), ...still, ...stops);
    expect(stopped).toMatchObject({ code: 0 });
    expect(stopped.stderr).toMatch(
      /stopped: early, after epoch 2: the validation loss has not improved for 1 epoch/,
    );
    expect(stopped.stderr).toContain("weights of step 8, where the validation loss was lowest");
    const short = await cli(
      "train",
      at("model.onnx"),
      ...still,
      ...stops,
      "--max-steps",
      "3",
      "-o",
      at("s.onnx"),
      "--json",
    );
    // No epoch ended: there is no best one.
    expect(JSON.parse(short.stdout)).toMatchObject({ stopped: "max-steps", from: "last", exportedStep: 3 });
    const resume = ["train", "--resume", at("model.trained.run"), "--force"];
    const next = await cli(...resume, "--json", "--from", "last");
    expect(JSON.parse(next.stdout)).toMatchObject({ epoch: 3, stopped: "early", from: "last" });
    const [, advice = ""] = /to go on all the same: sorth-onnx (.*)/.exec(stopped.stderr) ?? [];
    const whole = JSON.parse((await cli(...advice.split(" "), "--json")).stdout);
    expect(whole).toMatchObject({ epoch: 5, step: 40, from: "last" });
    expect(whole).not.toHaveProperty("stopped");
  });

  it("refuses other data unless told, and replaces no model", async () => {
    const start = ["train", at("model.onnx"), "--data", at("data.npz"), "--batch", "8", "--no-report"];
    await cli(...start, "--epochs", "2", "--max-steps", "3");
    writeFileSync(at("others.npz"), npz(48, [1, 28, 28], label));
    const resume = ["train", "--resume", at("model.trained.run"), "--epochs", "2"];
    const before = snapshot(folder.path);
    const there = await cli(...resume);
    expect(there).toMatchObject({ code: 2, stdout: "" });
    expect(there.stderr).toMatch(/model\.trained\.onnx" already exists/);
    const others = await cli(...resume, "--data", at("others.npz"), "--force");
    expect(others).toMatchObject({ code: 2, stdout: "" });
    expect(others.stderr).toMatch(/40 samples .* has 48 .*--other-data/);
    expect(snapshot(folder.path)).toEqual(before);
    const told = await cli(...resume, "--data", at("others.npz"), "--force", "--other-data");
    expect(told).toMatchObject({ code: 0 });
  });

  it("asks for model, data and epochs of a run that does not say how it was begun", async () => {
    await cli(
      "train",
      at("model.onnx"),
      "--data",
      at("data.npz"),
      "--batch",
      "8",
      "--max-steps",
      "3",
      "--no-report",
    );
    rmSync(at("model.trained.run/run.json"));
    const resume = ["train", "--resume", at("model.trained.run"), "-o", at("o.onnx")];
    const { code, stderr } = await cli(...resume, "--data", at("data.npz"));
    expect(code).toBe(2);
    expect(stderr).toMatch(/no run\.json .*: give the model, --data and --epochs again/);
    const all = ["--data", at("data.npz"), "--epochs", "1"];
    expect(await cli("train", at("model.onnx"), ...resume.slice(1), ...all)).toMatchObject({ code: 0 });
    expect(losses("model.trained")).toHaveLength(5);
  });

  it("finds its files from another folder", async () => {
    mkdirSync(at("sub"));
    renameSync(at("data.npz"), at("sub/data.npz"));
    const home = process.cwd();
    process.chdir(folder.path);
    try {
      const argv = [
        "train",
        "model.onnx",
        "--data",
        "sub/data.npz",
        "--batch",
        "8",
        "--epochs",
        "2",
        "--no-report",
      ];
      await interrupted("epoch 1", ...argv);
      process.chdir(at("sub"));
      expect(await cli("train", "--resume", "../model.trained.run")).toMatchObject({ code: 0 });
    } finally {
      process.chdir(home);
    }
    expect(readFileSync(at("model.trained.onnx")).length).toBeGreaterThan(1000);
  });
});

describe("export", () => {
  it("writes the model of a checkpoint", async () => {
    await cli("train", at("model.onnx"), ...flags());
    const best = await cli("export", "--checkpoint", at("model.trained.run"), "--from", "best");
    expect(best).toMatchObject({ code: 0, stderr: "" });
    expect(best.stdout).toContain(`→ ${at("model.trained.best.onnx")} (`);
    expect(readFileSync(at("model.trained.best.onnx")).equals(readFileSync(at("model.trained.onnx")))).toBe(
      true,
    );
    expect(await cli("export", at("model.trained.run"), "-o", at("last.onnx"))).toMatchObject({ code: 0 });
    expect(readFileSync(at("last.onnx")).equals(readFileSync(at("model.trained.onnx")))).toBe(false);
  });

  it("never takes the best weights of a run that was replaced", async () => {
    await cli("train", at("model.onnx"), ...flags());
    const short = ["--data", at("data.npz"), "--batch", "8", "--max-steps", "2", "--no-report"];
    expect(await cli("train", at("model.onnx"), ...short, "--force")).toMatchObject({ code: 0 });
    const { code, stderr } = await cli("export", at("model.trained.run"), "--from", "best");
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/best\.safetensors cannot be read: no such file/),
    ]);
  });

  it.each([
    [["export"], /missing the run's folder/],
    [["export", "nowhere"], /nowhere.last\.safetensors cannot be read/],
    [["export", "models", "--checkpoint", "models"], /once/],
    [
      ["train", "models/mlp.onnx", "--data", "mnist", "--from", "best", "-o", "x.onnx"],
      /--from best needs .*--validation/,
    ],
  ])("refuses %j", async (argv, says) => {
    const { code, stdout, stderr } = await cli(...argv);
    expect([code > 0, stdout]).toEqual([true, ""]);
    expect(stderr).toMatch(says);
  });
});

describe("the lock of a run's folder", () => {
  const train = (...more: string[]) =>
    cli("train", at("model.onnx"), "--data", at("data.npz"), "--batch", "20", "--epochs", "1", ...more);
  const lock = (owner: object) => writeFileSync(at("model.trained.run/run.lock"), JSON.stringify(owner));

  it("keeps a second process out, and is taken over from one that was killed", async () => {
    expect((await train()).code).toBe(0);
    expect(readdirSync(at("model.trained.run"))).not.toContain("run.lock");

    const before = snapshot(folder.path);
    lock({ process: process.ppid, host: hostname() });
    const refused = await cli("train", "--resume", at("model.trained.run"), "--epochs", "2", "--force");
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(
      /^error: process \d+ on ".+" trains in ".+run": wait for its end or stop it/,
    );
    rmSync(at("model.trained.run/run.lock"));
    expect(snapshot(folder.path)).toEqual(before);

    const { pid } = spawnSync(process.execPath, ["--version"]);
    lock({ process: pid, host: hostname() });
    const resumed = await cli("train", "--resume", at("model.trained.run"), "--epochs", "2", "--force");
    expect(resumed.stderr).not.toContain("run.lock");
    expect(resumed.code).toBe(0);
    expect(readdirSync(at("model.trained.run"))).not.toContain("run.lock");
  });

  it("of another machine is believed", async () => {
    mkdirSync(at("model.trained.run"));
    lock({ process: 1, host: "elsewhere" });
    const { code, stderr } = await train("--force");
    expect([code, stderr]).toEqual([2, expect.stringContaining('process 1 on "elsewhere" trains in')]);
  });

  it("begins again where a run ended before its first step, as it says", async () => {
    const flags = ["-o", at("out.onnx"), "--max-steps", "1", "--data", at("data.npz"), "--batch", "8"];
    const train = (...more: string[]) => cli("train", at("model.onnx"), ...more);
    await train(...flags);
    const record = at("out.run/run.jsonl");
    const lines = readFileSync(record, "utf8").split("\n");
    const early = lines.filter((line) => !/"event":"(?!angles|gradients)/.test(line)).join("\n");
    expect(early).toContain('"event":"angles"');
    for (const name of ["out.onnx", "out.run/last.safetensors", "out.run/model.onnx"]) rmSync(at(name));
    // What has steps is kept, also where a kill left no checkpoint of them.
    expect((await train(...flags)).stderr).toMatch(/out\.run" already holds a run/);
    writeFileSync(record, early);
    const resumed = await cli("train", "--resume", at("out.run"));
    expect(resumed).toMatchObject({ code: 2, stdout: "" });
    expect(resumed.stderr).toMatch(/out\.run" ended before its first checkpoint.*: begin it again$/m);
    writeFileSync(at("out.run/notes.txt"), "mine");
    expect((await train(...flags)).stderr).toMatch(/out\.run" already holds a run/);
    rmSync(at("out.run/notes.txt"));
    expect(await train(...flags)).toMatchObject({ code: 0 });
  });
});
