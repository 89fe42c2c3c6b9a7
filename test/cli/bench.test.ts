import { expect, it } from "vitest";
import { DeviceError } from "../../src/errors.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { bench, crossEntropy, Model, readModel, som } from "../../src/index.ts";
import { operatorTimes } from "../../src/measure/operator-profile-node.ts";
import { type BackendTimes, benchmarkStep } from "../../src/measure/step-benchmark-node.ts";
import { nodeRuntime } from "../../src/runtime/node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { clouds, network } from "../runtime/small-run.ts";
import { cli } from "./run-cli.ts";

const quick = ["--backend", "cpu", "--batch", "4", "--rounds", "3", "--round-time", "2"];

it("times the step with and without penalty, and each operator", async () => {
  const { code, stdout } = await cli("bench", "models/mlp.onnx", ...quick, "--profile", "--json");
  expect(code).toBe(0);
  const { backends } = JSON.parse(stdout) as { backends: readonly BackendTimes[] };
  const [times] = backends;
  if (!times || !("steps" in times)) throw new Error("no times");
  expect([backends.length, times.backend, times.batch]).toEqual([1, "cpu", 4]);
  const [plain, penalized] = times.steps;
  expect([plain?.penalty, penalized?.penalty]).toEqual(["none", expect.stringMatching(/^som:.*weight=0.1$/)]);
  for (const step of times.steps) {
    expect(step.rounds).toHaveLength(3);
    expect(step.milliseconds).toBe([...step.rounds].sort((a, b) => a - b)[1]);
    expect(step.samplesPerSecond * step.milliseconds).toBeCloseTo(4000, 6);
    const operators = step.operators ?? [];
    expect(operators.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 9);
    expect(operators.map(({ milliseconds }) => milliseconds)).toEqual(
      operators.map(({ milliseconds }) => milliseconds).sort((a, b) => b - a),
    );
  }
  expect(penalized?.ratio).toBe((penalized?.milliseconds ?? 0) / (plain?.milliseconds ?? 0));
  // Three layers: three products forward, and five backward, because the data need no gradient. AdamW: no product.
  const products = (plain?.operators ?? []).filter(({ operator }) => /Gemm$/.test(operator));
  expect(products.reduce((sum, { calls }) => sum + calls, 0)).toBe(8);
  expect((plain?.operators ?? []).some(({ operator }) => operator === "Tanh")).toBe(true);
});

it("prints a table, and only the plain step with --penalty none", async () => {
  const { code, stdout } = await cli("bench", "models/mlp.onnx", ...quick, "--penalty", "none");
  expect([code, stdout]).toEqual([
    0,
    expect.stringMatching(
      /^models\/mlp\.onnx, batches of 4 of random samples, 3 rounds\nbackend .*\ncpu +none +[\d.]+ .*\n$/,
    ),
  ]);
});

it.each([
  [["--data", "mnist"], /^models\/cnn\.onnx, batches of 4 of mnist/],
  [["--lora", "rank=2"], /random samples/],
  [["--classes", "10", "--bitfit", "--data", "mnist"], /of mnist/],
])("times the step that train would do with %j", async (flags, says) => {
  const { code, stdout } = await cli("bench", "models/cnn.onnx", ...quick, "--penalty", "none", ...flags);
  expect([code, stdout]).toEqual([0, expect.stringMatching(says)]);
});

it("names a backend that is missing with the reason, and refuses it where it was asked for", async () => {
  const [cpu] = nodeRuntime.backends;
  const missing = {
    ...cpu,
    name: "webgpu" as const,
    checkDevice: () => Promise.reject(new DeviceError("no GPU here")),
  };
  const options = { objective: crossEntropy(), batch: 2 };
  const model = await readModel("models/mlp.onnx");
  const forms = [{ penalty: "som", model, options: { ...options, penalties: [{ penalty: som() }] } }];
  const rest = { probe: nodeRuntime.probe, rounds: 1, milliseconds: 1, profile: false };
  expect(await benchmarkStep(forms, { ...rest, backends: [cpu, missing] })).toMatchObject([
    { backend: "cpu", batch: 2, steps: [{ penalty: "som" }] },
    { backend: "webgpu", absent: "no GPU here" },
  ]);
});

it.each([
  [["--backend", "tpu"], /Give one of cpu, cuda, webgpu/],
  [["--normalize", "none"], /--normalize: give --data too/],
  [["--class-weights", "balanced"], /balanced needs --data/],
  [["--penalty", "none", "--weight", "1"], /--penalty none means no penalty/],
  [["--objective", "hinge"], /no objective "hinge"/],
  [["--lr", "1"], /unknown option '--lr'/],
])("refuses %j", async (flags, says) => {
  const { code, stdout, stderr } = await cli("bench", "models/mlp.onnx", "--batch", "2", ...flags);
  expect([code, stdout, stderr]).toEqual([2, "", expect.stringMatching(says)]);
});

it.each([
  ["som", "decoupled"],
  ["so", "retraction"],
])("times %s applied by %s beside the plain step", async (penalty, apply) => {
  const { code, stdout } = await cli(
    ...["bench", "models/mlp.onnx", ...quick, "--penalty", penalty, "--apply", apply, "--json"],
  );
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ backends: [{ steps: [{ penalty: "none" }, {}] }] });
});

it("refuses labels that the loss cannot take", async () => {
  const { code, stderr } = await cli(
    "bench",
    "models/mlp.onnx",
    ...quick,
    "--data",
    "mnist",
    "--classes",
    "3",
  );
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(/holds the label \d, but the model has 3 classes/),
  ]);
});

it("times a model whose scores [samples · places, classes] have labels for several rows of each sample", async () => {
  const b = new GraphBuilder();
  const x = b.input("x", [4, 3, 6]);
  const rows = b.op("Reshape", [x, b.int64("rows", [12, 6])], "flat");
  const scores = b.op("MatMul", [rows, b.weight("w", [6, 5])], "scores");
  const model = Model.fromProto(graphToProto(b.output(scores), { irVersion: 9 }));
  const [times] = await bench(model, {
    objective: crossEntropy(),
    rounds: 1,
    roundTime: 1,
    backends: ["cpu"],
  });
  expect(times).toMatchObject({ backend: "cpu", batch: 4, steps: [{ penalty: "none" }] });
});

it("sums a profile by operator, without the first runs and without containers", () => {
  const node = (ts: number, op: string, dur: number) => ({
    ...{ cat: "Node", name: `${op}_kernel_time`, ts, dur, args: { op_name: op } },
  });
  const run = (ts: number) => ({ cat: "Session", name: "model_run", ts, dur: 9 });
  const profile = [
    ...[run(0), node(1, "MatMul", 1000), run(10), node(11, "MatMul", 30), node(12, "MatMul", 30)],
    ...[node(13, "Loop", 80), node(14, "Add", 20), run(20), node(21, "MatMul", 60), node(22, "Add", 60)],
    { cat: "Node", name: "Add_fence_before", ts: 22, dur: 5, args: { op_name: "Add" } },
  ];
  expect(operatorTimes(profile, 1)).toEqual([
    { operator: "MatMul", calls: 1.5, milliseconds: 0.06, share: 0.6 },
    { operator: "Add", calls: 1, milliseconds: 0.04, share: 0.4 },
  ]);
});

it("bench of the library times the same steps, on samples that mixup mixes", async () => {
  const options = { objective: crossEntropy(), batch: 8, rounds: 1, roundTime: 1 } as const;
  const [times, more] = await bench(network(), {
    ...options,
    ...{ penalties: [som()], backends: ["cpu"], dataset: clouds("bench", 16), mixup: 0.5 },
  });
  expect(more).toBeUndefined();
  expect(times).toMatchObject({
    backend: "cpu",
    batch: 8,
    steps: [{ penalty: "none" }, { ratio: expect.any(Number) }],
  });
  const on = (name: string) => bench(network(), { ...options, backends: [name as "cpu"] });
  await expect(on("tpu")).rejects.toThrow('bench runs on cpu, cuda, webgpu, not on "tpu"');
  await expect(bench(network(), { ...options, rounds: 0 })).rejects.toThrow("the number of rounds");
});
