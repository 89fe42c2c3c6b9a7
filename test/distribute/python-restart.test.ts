import { spawn } from "node:child_process";
import { appendFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { skipWithout } from "../helpers/skip-without.ts";
import {
  expectNear,
  missingPython,
  PythonRuns,
  python,
  quiet,
  sorth,
  standalone,
  start,
} from "./python-runs.ts";

const runs = new PythonRuns();
const { at, lines, losses, runPython } = runs;
const data = ["--data", at("data.npz")];

beforeAll(() => runs.begin());
afterAll(() => runs.remove());

describe("runs that are interrupted", () => {
  skipWithout(missingPython);

  it("a run goes from train to workers and back", async () => {
    const other = ["--batch", "16", "--penalty", "none", "--epochs", "4", ...quiet];
    const run = [...other, "--lr", "0.01"];
    await sorth("train", at("model.onnx"), ...data, ...run, "-o", at("whole.onnx"));
    await sorth("train", at("model.onnx"), ...data, ...run, "--max-steps", "5", "-o", at("first.onnx"));
    await sorth("distribute", "--resume", at("first.run"), "-o", at("middle"), "--workers", "2", "--quiet");
    await runPython("middle", 1, ...data, "--checkpoint", "second.run", "--max-steps", "13");
    await sorth("train", "--resume", at("second.run"), "--epochs", "4", "-o", at("third.onnx"), ...quiet);
    expectNear(losses("first.run", "second.run"), losses("whole.run"), 1e-5);
    const further = ["--epochs", "5", "--max-steps"];
    // A killed process leaves half a line.
    appendFileSync(at("second.run/run.jsonl"), '{"event":"st');
    await runPython("middle", 1, ...data, "--resume", "second.run", ...further, "26");
    const [half, next] = readFileSync(at("second.run/run.jsonl"), "utf8").split("\n").slice(-5);
    expect([half, JSON.parse(next ?? "").step]).toEqual(['{"event":"st', 25]);
    const rate = [...other, "--lr", "0.02"];
    await sorth("train", at("model.onnx"), ...data, ...rate, "-o", at("rate.onnx"));
    const refused = (...flags: string[]) =>
      runPython("middle", 1, ...flags).catch((reason: { stderr: string }) => reason.stderr);
    const refusal = (...flags: string[]) => refused(...data, ...flags);
    expect(await refusal("--resume", "rate.run")).toMatch(
      /^error: .* with other options \(learningRate\).*\n$/,
    );
    const held = await refusal("--resume", "second.run", "--validation", "0.5", ...further, "28");
    expect(held).toMatch(
      /^error: the run was begun with a share of 0 held out .* not with a share of 0.5.*\n$/,
    );
    const lost = await refused("--data", "nothing.npz", "--checkpoint", "second.run", "--force");
    expect(lost).toContain("nothing.npz");
    expect(existsSync(at("second.run/last.safetensors"))).toBe(true);
    // Nor does it take anything from a run that goes on: of this process.
    writeFileSync(at("second.run/run.lock"), JSON.stringify({ process: process.pid, host: hostname() }));
    expect(await refusal("--checkpoint", "second.run", "--force")).toMatch(
      /^error: process \d+ .* trains in/,
    );
    expect(existsSync(at("second.run/last.safetensors"))).toBe(true);
    expect(await refusal("--epochs", "2", "--epochs", "3")).toMatch(
      /--epochs is given twice: give it once\n$/,
    );
  }, 120_000);

  it("a state that is not finite is not saved within an epoch, though the loss was", async () => {
    const run = ["--batch", "16", "--penalty", "none", "--weight-decay", "10", "--lr", "3e38"];
    await sorth("distribute", at("model.onnx"), ...run, "-o", at("huge"), "--workers", "1", "--quiet");
    const flags = [...data, "--checkpoint", "huge.run", "--save-every", "1"];
    const fails = () => runPython("huge", 1, ...flags).catch((reason: { stderr: string }) => reason.stderr);
    const failed = await fails();
    expect(failed).toMatch(/^error: after step 1, ".*" holds NaN or infinite numbers, though the loss is/);
    expect(existsSync(at("huge.run/last.safetensors"))).toBe(false);
    // Nothing goes on from that folder, so that a run may begin in it again.
    expect(await fails()).toBe(failed);
  });

  it("a worker that dies starts the run again from its last checkpoint, with the same end", async () => {
    const run = ["--batch", "16", "--penalty", "none", "--lr", "0.01", "--epochs", "3"];
    await sorth("distribute", at("model.onnx"), ...run, "-o", at("killed"), "--workers", "2", "--quiet");
    const wrapper = at("dies.py");
    writeFileSync(
      wrapper,
      [
        "import os, signal, sys",
        `sys.path.insert(0, ${JSON.stringify(at("killed"))})`,
        "from pathlib import Path",
        "from sorth_distributed import worker, command",
        "step = worker.Worker.step",
        "def dying(self, *args):",
        "    first = os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'",
        "    if first and self.reducer.rank == 1 and self.position.step == 10: os.kill(os.getpid(), signal.SIGKILL)",
        "    return step(self, *args)",
        "worker.Worker.step = dying",
        `sys.exit(command.main(Path(${JSON.stringify(at("killed"))})))`,
      ].join("\n"),
    );
    const flags = ["--quiet", ...data, "--checkpoint", "again.run"];
    const torchrun = [...standalone, "--nproc-per-node", "2", "--max-restarts", "1"];
    await start(python, [...torchrun, wrapper, ...flags], { cwd: dirname(wrapper) });
    await runPython("killed", 1, ...data, "--checkpoint", "whole-run");
    expectNear(losses("again.run"), losses("whole-run"), 1e-6);
  }, 300_000);
  it("a machine that is lost leaves the run to the other, with the same end", async () => {
    const run = ["--batch", "16", "--penalty", "none", "--lr", "0.01", "--epochs", "12"];
    await sorth("distribute", at("model.onnx"), ...run, "-o", at("lost"), "--workers", "2", "--quiet");
    writeFileSync(
      at("slow.py"),
      [
        "import os, sys, time",
        `sys.path.insert(0, ${JSON.stringify(at("lost"))})`,
        "from pathlib import Path",
        "from sorth_distributed import worker, command",
        "Path(os.environ['AGENT'] + '.pid').write_text(str(os.getpid()))",
        "step = worker.Worker.step",
        "def slow(self, *words):",
        "    time.sleep(0.1 if self.reducer.size > 1 else 0)",
        "    return step(self, *words)",
        "worker.Worker.step = slow",
        `sys.exit(command.main(Path(${JSON.stringify(at("lost"))})))`,
      ].join("\n"),
    );
    const agent = (name: string) => {
      // Both machines meet in a file, which no other program can take as it can take a port.
      const rendezvous = ["--rdzv-backend", "c10d", "--rdzv-id", "lost", "--rdzv-endpoint", at("meeting")];
      const wait = ["--rdzv-conf", "store_type=file,last_call_timeout=2"];
      const nodes = ["--nnodes", "1:2", "--nproc-per-node", "1", "--max-restarts", "2"];
      const words = ["-m", "torch.distributed.run", ...nodes, ...rendezvous, ...wait, "slow.py"];
      const env = { ...process.env, AGENT: name, OMP_NUM_THREADS: "1" };
      const flags = [...data, "--quiet", "--checkpoint", "lost.run"];
      return spawn(python, [...words, ...flags], { cwd: runs.path, env, stdio: "ignore" });
    };
    const stays = agent("stays");
    const ended = new Promise((resolve) => stays.on("exit", resolve));
    const goes = agent("goes");
    const twoEpochs = () => existsSync(at("lost.run/run.jsonl")) && lines("lost.run").length > 14;
    await expect.poll(twoEpochs, { timeout: 120_000, interval: 100 }).toBe(true);
    for (const pid of [goes.pid, Number(readFileSync(at("goes.pid"), "utf8"))])
      process.kill(pid ?? 0, "SIGKILL");
    expect(await ended).toBe(0);
    await runPython("lost", 1, ...data, "--checkpoint", "lost-whole");
    expect(losses("lost.run")).toHaveLength(72);
    expectNear(losses("lost.run"), losses("lost-whole"), 1e-6);
  }, 300_000);
});
