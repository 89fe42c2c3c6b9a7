import { execFile, execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeModel } from "../../src/index.ts";
import { npz } from "../cli/npz.ts";
import { cli, temporaryFolder } from "../cli/run-cli.ts";
import { network } from "../runtime/small-run.ts";

const python = process.env.SORTH_PYTHON ?? "";
const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
const environment = { ...process.env, PYTHONPATH: join(process.cwd(), "python") };

/** Why a test is skipped; empty if Python has the packages. */
function missing(...packages: string[]): string {
  if (python === "") return "no Python was named (SORTH_PYTHON)";
  try {
    execFileSync(python, ["-c", `import ${packages.join(", ")}`], { stdio: "ignore" });
    return "";
  } catch {
    return `the Python of SORTH_PYTHON lacks one of ${packages.join(", ")}`;
  }
}

const run = async (...words: string[]): Promise<string> => {
  const done = await promisify(execFile)(python, words, {
    cwd: folder.path,
    env: environment,
    maxBuffer: 2 ** 26,
  });
  return done.stdout;
};

async function sorth(...argv: string[]): Promise<void> {
  const { code, stderr } = await cli(...argv);
  expect({ code, errors: stderr.match(/.*error.*/) }).toEqual({ code: 0, errors: null });
}

const losses = (name: string): number[] =>
  readFileSync(at(`${name}/run.jsonl`), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { event: string; loss: number })
    .flatMap(({ event, loss }) => (event === "step" ? [loss] : []));

const common = ["--penalty", "none", "--lr", "0.02", "--quiet"];

beforeAll(async () => {
  if (python === "") return;
  await writeModel(network(), at("model.onnx"));
  writeFileSync(
    at("data.npz"),
    npz(96, [6], (index) => (index * 5 + Math.floor(index / 7)) % 3),
  );
  // Not Adam, which turns the rounding of a bias in front of BatchNorm into whole steps.
  const flags = ["--batch", "8", "--optimizer", "sgd", ...common];
  await sorth("distribute", at("model.onnx"), ...flags, "-o", at("clients"));
  await sorth("distribute", at("model.onnx"), ...flags, "--lora", "rank=2", "-o", at("adapters"));
});
afterAll(() => folder.remove());

describe("clients of Flower", () => {
  it("send flat arrays and take them back, adapters alone, or what does not fit in words", async (context) => {
    const reason = missing("numpy", "onnxruntime");
    context.skip(reason !== "", reason);
    const out = await run(
      "-c",
      `
import contextlib, io
from pathlib import Path
import numpy as np
from sorth_distributed import Worker, load, load_data, RunError
from sorth_distributed.flower import keep_result, main, parameters_of, take_parameters, train_round
for name in ("clients", "adapters"):
    contract = load(name)
    worker = Worker(contract, data=load_data("data.npz", contract).train)
    first = parameters_of(worker, True)
    train_round(worker, 1, 1)
    assert worker.position.step == 12, worker.position.step
    once = parameters_of(worker, True)
    take_parameters(worker, first, True)
    assert all(np.array_equal(a, b) and a.ndim == 1 for a, b in zip(parameters_of(worker, True), first))
    other = Worker(contract, data=load_data("data.npz", contract).train)
    train_round(other, 1, 1)
    assert all(np.array_equal(a, b) for a, b in zip(parameters_of(other, True), once))
    print(name, [one.name for one in contract.parameters], len(first))
    for bad in (first[1:], [first[0][1:], *first[1:]], [first[0] * np.nan, *first[1:]]):
        try:
            take_parameters(worker, bad, True)
            raise SystemExit("accepted")
        except RunError as error:
            print(error)
keep_result(other, "data.npz", None, Path("kept"))
for flags, reason in [(["-o", "model.onnx"], "already exists"), (["--checkpoint", "kept"], "already holds a run")]:
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert main(["clients", "--data", "data.npz", *flags]) == 1
    assert reason in said.getvalue(), said.getvalue()
`,
    );
    await sorth("train", "--resume", at("kept"), "--epochs", "1", "-o", at("kept.onnx"), "--no-report");
    const lines = out.trim().split("\n");
    expect(lines).toHaveLength(8);
    expect(lines[4]).toMatch(/^adapters \[('\S+\.lora_[AB]'(, )?)+\] \d+$/);
    expect(lines[1]).toMatch(/9 arrays arrived for the 10 that this run sends/);
    expect(lines[2]).toMatch(/7 numbers arrived for it/);
    expect(lines[3]).toMatch(/arrived with NaN or infinite numbers: a client diverged/);
  });

  it("in simulation: three of them equal their average, plain and masked by SecAgg+", async (context) => {
    const reason = missing("flwr", "ray", "onnxruntime");
    context.skip(reason !== "", reason);
    const out = await run(
      "-c",
      `
import json, re
import numpy as np
from flwr.simulation import run_simulation
from sorth_distributed import RunError, Worker, load, load_data
from sorth_distributed.flower import (
    client_app, parameters_of, part_of, server_app, simulate, take_parameters, train_round,
)
contract = load("clients")
data = load_data("data.npz", contract)
server = Worker(contract, data=data)
expected = [server.evaluate(data.train)["loss"]]
shared = parameters_of(server, True)
for number in (1, 2):
    updates = []
    for client in range(3):
        worker = Worker(contract, data=part_of(data.train, client, 3))
        take_parameters(worker, shared, True)
        train_round(worker, number, 1)
        updates.append((worker.data.train.size, parameters_of(worker, True)))
    total = sum(size for size, _ in updates)
    shared = [sum(size / total * arrays[i] for size, arrays in updates) for i in range(len(shared))]
    take_parameters(server, shared, True)
    expected.append(server.evaluate(data.train)["loss"])
def rounds(secure):
    return [one["loss"] for one in simulate("clients", "data.npz", clients=3, rounds=2, statistics=True, secure=secure)]
found = [expected, rounds(False), rounds(True)]
def of_a_broken_disk(number, clients, contract):
    if number == 1:
        raise ValueError("a broken disk")
    return part_of(load_data("data.npz", contract).train, number, clients)
for call, reason in [
    (lambda: simulate("clients", "data.npz", clients=40, rounds=1), "fewer than the batch of 8"),
    (lambda: simulate("clients", "data.npz", clients=0, rounds=1), "whole numbers of 1 or more"),
    (lambda: server_app("clients", rounds=1, clients=2, secure=True), "three clients or more"),
    (
        lambda: run_simulation(
            server_app("clients", rounds=2, clients=3), client_app("clients", of_a_broken_disk), num_supernodes=3,
            backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
        ),
        "round 1: a client failed: .*a broken disk",
    ),
]:
    try:
        call()
        raise SystemExit(f"accepted: {reason}")
    except RunError as error:
        assert re.search(reason, str(error)), error
print("\\n" + json.dumps(found))
`,
    );
    const [expected = [], plain = [], masked = []] = JSON.parse(
      out.trim().split("\n").at(-1) ?? "",
    ) as number[][];
    expect(expected[2]).toBeLessThan(expected[0] ?? 0);
    for (const [i, loss] of expected.entries()) {
      expect(plain[i]).toBeCloseTo(loss, 5);
      // SecAgg+ rounds to steps of 16/2²² here.
      expect(masked[i]).toBeCloseTo(loss, 3);
    }
  }, 600_000);
});

it("two workers of Ray Train equal the joint batch of train in 20 losses", async (context) => {
  const reason = missing("ray.train", "torch", "onnxruntime");
  context.skip(reason !== "", reason);
  const flags = ["--batch", "16", "--max-steps", "20", "--epochs", "4", "--batch-norm", "frozen", ...common];
  const data = ["--data", at("data.npz")];
  await sorth("train", at("model.onnx"), ...data, ...flags, "-o", at("ray.onnx"), "--no-report");
  await sorth("distribute", at("model.onnx"), ...flags, "--workers", "2", "-o", at("dir"));
  await run("-m", "sorth_distributed.ray_train", "dir", "--workers", "2", ...data, "--checkpoint", "two");
  const [expected, found] = [losses("ray.run"), losses("two")];
  expect(found).toHaveLength(20);
  for (const [i, loss] of found.entries()) expect(Math.abs(loss - (expected[i] ?? 0))).toBeLessThan(1e-5);
}, 600_000);

it("the guide of costs has the tables that the model makes of the committed figures", async (context) => {
  const reason = missing("numpy");
  context.skip(reason !== "", reason);
  await run(join(process.cwd(), "bench/distribute/cost.py"));
});
