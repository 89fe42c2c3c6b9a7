import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { run } from "../../src/cli/program.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { decodeModel, encodeModel, Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { npz } from "./npz.ts";
import { cli, snapshot, temporaryFolder } from "./run-cli.ts";

let folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
const model = "models/mlp.onnx";
const train = (...argv: string[]) =>
  cli(
    "train",
    ...(argv[0]?.endsWith(".onnx") ? [] : [model]),
    "--data",
    at("data.npz"),
    "--batch",
    "8",
    ...argv,
  );
const events = (path: string) =>
  readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { event: string; step: number; loss: number; penalty: number });

beforeEach(() => {
  folder = temporaryFolder();
  writeFileSync(
    at("data.npz"),
    npz(40, [1, 28, 28], (index) => index % 10),
  );
});
afterEach(() => folder.remove());

describe("train", () => {
  it("writes the original graph with new weights, checkpoints and run.jsonl", async () => {
    const { code, stdout, stderr } = await train(
      "-o",
      at("out.onnx"),
      "--epochs",
      "2",
      "--validation",
      "0.2",
    );
    expect(code).toBe(0);
    expect(stdout).toMatch(/^models\/mlp\.onnx \(438 kB\) → \S+out\.onnx \(438 kB\)\n$/);
    expect(stderr).toMatch(/epoch 2 {2}loss .* validation loss .* accuracy/);
    const [before, after] = [model, at("out.onnx")].map(
      (path) => decodeModel(readFileSync(path)).proto.graph,
    );
    expect(after?.node?.map(({ name, opType }) => [name, opType])).toEqual(
      before?.node?.map(({ name, opType }) => [name, opType]),
    );
    const changed = after?.initializer?.filter(
      ({ rawData }, index) =>
        !Buffer.from(rawData ?? []).equals(before?.initializer?.[index]?.rawData ?? Buffer.of()),
    );
    expect(changed?.length).toBe(before?.initializer?.length);

    expect(readdirSync(at("out.run")).sort()).toEqual([
      ...[
        "best.safetensors",
        "config.yaml",
        "last.safetensors",
        "model.onnx",
        "report.html",
        "run.json",
        "run.jsonl",
      ],
    ]);
    const log = events(at("out.run/run.jsonl"));
    expect(log.filter(({ event }) => event === "step")).toHaveLength(8);
    expect(log.filter(({ event }) => event === "epoch")).toHaveLength(2);
    expect(log.at(-1)).toMatchObject({ event: "end", step: 8, epoch: 2 });
    const figures = log.filter(({ event }) => event !== "angles" && event !== "gradients");
    expect(figures.every(({ loss, penalty }) => Number.isFinite(loss) && penalty > 0)).toBe(true);
  });

  it("adds no penalty with --penalty none, and lowers the loss of the data", async () => {
    const flags = [
      "--penalty",
      "none",
      "--epochs",
      "30",
      "--optimizer",
      "sgd",
      "--momentum",
      "0.9",
      "--lr",
      "0.01",
    ];
    expect((await train("-o", at("out.onnx"), ...flags, "--quiet")).code).toBe(0);
    const steps = events(at("out.run/run.jsonl")).filter(({ event }) => event === "step");
    expect(steps.every(({ penalty }) => penalty === 0)).toBe(true);
    expect(steps.at(-1)?.loss).toBeLessThan((steps[0]?.loss ?? 0) / 2);
  });

  it("goes on bit for bit with --resume", async () => {
    const common = ["--epochs", "3", "--threads", "1"];
    await train("-o", at("whole.onnx"), ...common);
    await train("-o", at("part.onnx"), ...common, "--max-steps", "7");
    const resumed = await cli(
      ...["train", model, "--data", at("data.npz"), "--epochs", "3"],
      ...["--resume", at("part.run"), "-o", at("resumed.onnx")],
    );
    expect(resumed).toMatchObject({ code: 0 });
    const losses = (name: string) =>
      events(at(`${name}.run/run.jsonl`)).flatMap(({ event, loss }) => (event === "step" ? [loss] : []));
    expect(losses("whole")).toHaveLength(15);
    expect(losses("part")).toEqual(losses("whole"));
    expect(readFileSync(at("resumed.onnx")).equals(readFileSync(at("whole.onnx")))).toBe(true);
  });

  it("gives the same bits with any number of steps a run", async () => {
    const models = [];
    for (const count of ["1", "3", "auto"]) {
      const flags = ["-o", at(`${count}.onnx`), "--epochs", "2", "--threads", "1", "--steps-per-run", count];
      expect(await train(...flags)).toMatchObject({ code: 0 });
      models.push(readFileSync(at(`${count}.onnx`)));
    }
    for (const bytes of models) expect(bytes.equals(models[0] ?? Buffer.of())).toBe(true);
  });

  it("refuses options of training and another model with --resume", async () => {
    await train("-o", at("part.onnx"), "--max-steps", "2");
    const resume = ["--data", at("data.npz"), "--resume", at("part.run"), "-o", at("resumed.onnx")];
    const before = snapshot(folder.path);
    const options = await cli("train", model, ...resume, "--lr", "1", "--penalty", "som");
    expect(options).toMatchObject({ code: 2, stdout: "" });
    expect(options.stderr).toMatch(/leave out --penalty, --lr/);
    const other = await cli("train", "models/cnn.onnx", ...resume);
    expect(other).toMatchObject({ code: 2, stdout: "" });
    expect(other.stderr).toMatch(/trains another model/);
    expect(snapshot(folder.path)).toEqual(before);
  });

  it("does not mix a new run into an old one's folder", async () => {
    await train("-o", at("out.onnx"), "--max-steps", "1");
    const again = await train("-o", at("new.onnx"), "--checkpoint", at("out.run"));
    expect(again).toMatchObject({ code: 2, stdout: "" });
    expect(again.stderr).toMatch(/out\.run" already holds a run/);
  });

  it("honours the penalty of an injected model, and leaves it out of the result", async () => {
    await cli("inject", model, "-o", at("injected.onnx"), "--gamma", "5");
    const trained = await train(at("injected.onnx"), "-o", at("out.onnx"), "--max-steps", "3");
    expect(trained).toMatchObject({ code: 0 });
    const [first] = events(at("out.run/run.jsonl")).filter(({ event }) => event === "step");
    expect(first?.penalty).toBeGreaterThan(0);
    const names = decodeModel(readFileSync(at("out.onnx"))).proto.graph?.node?.map(({ name }) => name);
    expect(names?.some((name) => name?.startsWith("sorth/"))).toBe(false);
    const twice = await train(at("injected.onnx"), "-o", at("twice.onnx"), "--penalty", "som");
    expect(twice).toMatchObject({ code: 2, stdout: "" });
    expect(twice.stderr).toMatch(/injected penalty .* leave out --penalty, or strip the model first/);
  });

  it("refuses before the first step to keep a penalty that the written model cannot keep", async () => {
    const b = new GraphBuilder(17);
    const [ratio, training] = [
      Tensor.float("ratio", [], [0.5]),
      Tensor.of("on", "bool", [], Uint8Array.of(1)),
    ];
    const h = b.op("Flatten", [b.input("x", ["batch", 1, 28, 28])], "flat");
    const constants = [ratio, training].map((one) => b.graph.addInitializer(one));
    const d = b.op("Dropout", [b.op("MatMul", [h, b.weight("w", [784, 10])], "m"), ...constants], "d");
    b.output(b.op("MatMul", [d, b.weight("v", [10, 10])], "logits"));
    writeFileSync(at("form.onnx"), encodeModel(Model.fromProto(graphToProto(b.graph, { irVersion: 8 }))));
    await cli("inject", at("form.onnx"), "-o", at("injected.onnx"));
    const before = snapshot(folder.path);
    const kept = await train(at("injected.onnx"), "-o", at("out.onnx"), "--keep-penalty");
    expect(kept).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/training form.* cannot keep its penalty/),
    });
    expect(snapshot(folder.path)).toEqual(before);
  });

  it("trains with several penalties, each with its weight, layers and schedule, and goes on with them", async () => {
    const penalties = ["som:gamma=5,weight=0.1,include=fc1|fc2", "so:weight=0.01,schedule=cosine", "srip"];
    const flags = penalties.flatMap((text) => ["--penalty", text]);
    const first = await train("-o", at("out.onnx"), ...flags, "--max-steps", "3");
    expect(first).toMatchObject({ code: 0 });
    const again = ["--data", at("data.npz"), "--resume", at("out.run"), "-o", at("out.onnx"), "--force"];
    expect(await cli("train", model, ...again, "--epochs", "1")).toMatchObject({ code: 0 });
    const steps = readFileSync(at("out.run/run.jsonl"), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line))
      .filter(({ event }) => event === "step") as { penalties: object; penaltyShare: number; loss: number }[];
    expect(steps).toHaveLength(5);
    for (const { penalties, penaltyShare, loss } of steps) {
      expect(Object.keys(penalties)).toEqual(["som", "so", "srip"]);
      const sum = Object.values(penalties).reduce((a, b) => a + b, 0);
      expect(sum).toBeCloseTo(penaltyShare * loss, 4);
    }
    const page = readFileSync(at("out.run/report.html"), "utf8");
    const facts =
      "som:lambda1=0,lambda2=1,gamma=5 (weight 0.1, layers fc1|fc2); so (weight 0.01, cosine); srip (weight 0.01).";
    expect(page.includes(facts)).toBe(true);
    expect(/Share of each penalty in the loss: ([^"]*)/.exec(page)?.[1]).toMatch(/^som .*so .*srip /);
  });

  it.each([
    ["train", "stopped before the first step, so there is nothing to go on from: begin the run again"],
    ["evaluate", "stopped before the end, without a result"],
    ["predict", "stopped before the end, without a result"],
  ])("%s says so when Ctrl-C comes before there is anything", async (command, message) => {
    let stderr = "";
    const output = command === "evaluate" ? [] : ["-o", at(command === "train" ? "early.onnx" : "early.csv")];
    const code = await run([command, model, "--data", at("data.npz"), "--batch", "8", ...output], {
      stdout: { write: () => true },
      stderr: { write: (text) => (stderr += text) },
      onInterrupt: () => AbortSignal.abort(),
    });
    expect([code, stderr.split("\n").at(-2)]).toEqual([1, `error: ${message}`]);
  });

  it("stops after the current step at Ctrl-C, and says how to go on", async () => {
    const controller = new AbortController();
    let stderr = "";
    const argv = [
      "train",
      model,
      "--data",
      at("data.npz"),
      "--batch",
      "8",
      "--epochs",
      "1000",
      "-o",
      at("out.onnx"),
    ];
    const code = await run(argv, {
      stdout: { write: () => true },
      stderr: {
        write: (text) => {
          stderr += text;
          if (text.startsWith("epoch 2")) controller.abort();
        },
      },
      onInterrupt: () => controller.signal,
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /error: stopped after step 1\d; to go on: sorth-onnx train --resume \S+out\.run\n$/,
    );
    expect(existsSync(at("out.onnx"))).toBe(false);
    expect(existsSync(at("out.run/last.safetensors"))).toBe(true);
    expect(readFileSync(at("out.run/report.html"), "utf8")).toContain("The run was interrupted after step 1");
  });

  it("writes a report of the run, that of a resumed run from its beginning", async () => {
    const report = () => readFileSync(at("out.run/report.html"), "utf8");
    await train(
      "-o",
      at("out.onnx"),
      "--epochs",
      "2",
      "--max-steps",
      "7",
      "--validation",
      "0.2",
      "--gamma",
      "5",
    );
    expect(report()).toContain(`<title>Training run ${at("out.run")}</title>`);
    for (const text of [
      "Training loss",
      "Accuracy",
      "Share in the loss",
      "Gradients: penalty against loss",
    ]) {
      expect(report()).toContain(text);
    }
    expect(report()).toContain("7 of 7");
    expect(report()).toContain("Penalty: som:lambda1=0,lambda2=1,gamma=5 (weight 0.1).");
    expect(report()).toContain("stopped after step 7, as was asked for");
    const resumed = await cli(
      ...["train", model, "--data", at("data.npz"), "--epochs", "2", "--validation", "0.2"],
      ...["--resume", at("out.run"), "-o", at("more.onnx")],
    );
    expect(resumed).toMatchObject({ code: 0 });
    expect(report()).toContain("8 of 8");
    expect(report()).toContain("Resumed after step 7");
    const kinds = events(at("out.run/run.jsonl")).map(({ event, step }) => `${event} ${step}`);
    expect(kinds.filter((kind) => /angles|gradients/.test(kind))).toEqual(
      [0, 4, 7, 8].flatMap((step) => [`angles ${step}`, `gradients ${step}`]),
    );
  });

  it("measures and writes nothing for a report with --no-report, and trains to the same bits", async () => {
    const common = ["--max-steps", "5", "--threads", "1"];
    await train("-o", at("with.onnx"), ...common);
    const { stderr } = await train("-o", at("without.onnx"), ...common, "--no-report");
    expect(stderr).toContain(`checkpoints, run.jsonl: ${at("without.run")}\n`);
    expect(existsSync(at("without.run/report.html"))).toBe(false);
    const kinds = new Set(events(at("without.run/run.jsonl")).map(({ event }) => event));
    expect([...kinds].sort()).toEqual(["checkpoint", "end", "epoch", "step"]);
    expect(readFileSync(at("without.onnx")).equals(readFileSync(at("with.onnx")))).toBe(true);
  });

  it("reports a run that broke off, and its error is the one that counts", async () => {
    const flags = ["--optimizer", "sgd", "--lr", "1e30", "--epochs", "3", "--penalty", "none"];
    const { code, stderr } = await train("-o", at("out.onnx"), ...flags);
    expect(code).toBe(1);
    expect(stderr).toMatch(/error: the loss became (NaN|Infinity) at step \d/);
    expect(existsSync(at("out.onnx"))).toBe(false);
    expect(readFileSync(at("out.run/report.html"), "utf8")).toContain("The record breaks off after step");
  });

  it("prints figures for machines with --json", async () => {
    const { stdout } = await train("-o", at("out.onnx"), "--max-steps", "2", "--json");
    expect(JSON.parse(stdout)).toMatchObject({
      ...{ output: at("out.onnx"), checkpoint: at("out.run"), event: "end", step: 2, stopped: "max-steps" },
    });
  });

  it("refuses other backends", async () => {
    const { code, stderr } = await train("-o", at("out.onnx"), "--backend", "opencl");
    expect(code).toBe(2);
    expect(stderr).toMatch(/argument 'opencl' is invalid\. Allowed choices are cpu, cuda, webgpu/);
  });
});
