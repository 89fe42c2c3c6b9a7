import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { zipSync } from "fflate";
import Long from "long";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { optimizerModel } from "../../src/artifacts/optimizer-model.ts";
import { encodeModel, readCheckpoint, readModel, Tensor } from "../../src/index.ts";
import { Model } from "../../src/onnx/model.ts";
import { officialBatch, officialPath, pytorch } from "../artifacts/official-fixtures.ts";
import { npyBytes } from "../data/npy-bytes.ts";
import { OfficialSession } from "../helpers/official-runtime.ts";
import { runModel } from "../helpers/run-model.ts";
import { cli, snapshot, temporaryFolder } from "./run-cli.ts";

let folder: ReturnType<typeof temporaryFolder>;
const at = (name: string) => join(folder.path, name);

/** A run of official artifacts, copied to a folder of the test. */
function artifactsOf(name: string): string {
  const target = at(name);
  mkdirSync(target);
  for (const file of readdirSync(officialPath(name))) {
    copyFileSync(officialPath(`${name}/${file}`), join(target, file));
  }
  return target;
}

/** The first batches of a network as an .npz file, and a batch and a half to test on. */
function dataOf(name: string, count: number): string {
  const shape = pytorch.networks[name]?.shape ?? [];
  const rows = shape[0] ?? 0;
  const arrays = (suffix: string, from: number, samples: number) => {
    const batches = Array.from({ length: Math.ceil(samples / rows) }, (_, i) =>
      officialBatch(name, from + i),
    );
    const x = Float32Array.from(batches.flatMap((batch) => batch.x.numbers()));
    const y = batches.flatMap((batch) => batch.labels.numbers()).slice(0, samples);
    const perSample = x.length / (batches.length * rows);
    return {
      [`x${suffix}.npy`]: npyBytes({
        ...{ descr: "<f4", shape: [samples, ...shape.slice(1)] },
        data: x.subarray(0, samples * perSample),
      }),
      [`y${suffix}.npy`]: npyBytes({ descr: "<i8", shape: [samples], data: BigInt64Array.from(y, BigInt) }),
    };
  };
  const path = at(`${name}.npz`);
  writeFileSync(path, zipSync({ ...arrays("", 0, rows * count), ...arrays("_test", count, rows * 1.5) }));
  return path;
}

beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

describe("sorth-onnx on a training model", () => {
  it("inspects, injects, and strips to the same bytes", async () => {
    const run = artifactsOf("cnn");
    const model = join(run, "training_model.onnx");
    const inspected = await cli("inspect", model, "--json");
    const report = JSON.parse(inspected.stdout);
    expect(report.artifact).toMatchObject({
      kind: "training",
      gradients: { "/c1/Conv": true, "/f/Gemm": true },
    });
    expect(report.artifact.frozen).toHaveLength(4);
    expect(report.inputs.map((input: { name: string }) => input.name)).toEqual(["x", "labels"]);
    const text = await cli("inspect", model);
    expect(text.stdout).toMatch(/a training model of ONNX Runtime's training tools/);
    expect(text.stdout).toMatch(/c1.weight +\[6, 3, 3, 3\] +trained by "c1.weight_grad"/);

    const injected = await cli("inject", model, "-o", at("injected.onnx"), "--weight", "0.05");
    expect([injected.code, injected.stderr]).toEqual([0, expect.not.stringContaining("error")]);
    expect((await cli("strip", at("injected.onnx"), "-o", at("stripped.onnx"))).code).toBe(0);
    expect(readFileSync(at("stripped.onnx")).equals(readFileSync(model))).toBe(true);
  });

  it("inspects a checkpoint", async () => {
    const path = officialPath("cnn/checkpoint-10");
    const text = (await cli("inspect", path)).stdout;
    expect(text).toMatch(
      /a checkpoint of ONNX Runtime's training API, optimizer state after 10 updates, learning rate 0.001\n/,
    );
    expect(text).toMatch(/c1.weight +float +\[6, 3, 3, 3\]/);
    const report = JSON.parse((await cli("inspect", path, "--json")).stdout);
    expect(report.properties).toEqual({ epoch: 3, best: 0.5, note: "half way" });
    expect(report.optimizer.moments["c1.weight"]).toEqual(["momentum0", "momentum1"]);
    writeFileSync(at("cut"), readFileSync(path).subarray(0, 500));
    const cut = await cli("inspect", at("cut"));
    expect([cut.code, cut.stderr]).toEqual([1, expect.stringMatching(/is a damaged checkpoint/)]);
  });

  it("says of the other files what they are", async () => {
    const optimizer = officialPath("mlp/optimizer_model.onnx");
    expect((await cli("inspect", optimizer)).stdout).toMatch(
      /an optimizer model of ONNX Runtime's training tools/,
    );
    const refused = await cli("inject", optimizer, "-o", at("x.onnx"));
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringMatching(/is an optimizer model; the penalty/),
    ]);
    expect(readdirSync(folder.path)).toEqual([]);
  });

  it("goes on training it, and writes an inference model and a checkpoint", async () => {
    const run = artifactsOf("cnn");
    const before = snapshot(run);
    const model = join(run, "training_model.onnx");
    const common = ["--data", dataOf("cnn", 6), "--epochs", "2", "--quiet"];
    const files = ["-o", at("trained.onnx"), "--ort-checkpoint", at("checkpoint-next")];
    const trained = await cli(
      "train",
      model,
      "--checkpoint",
      join(run, "checkpoint-10"),
      ...common,
      ...files,
    );
    expect([trained.code, trained.stderr]).toEqual([0, ""]);
    expect(snapshot(run)).toEqual(before);
    const log = readFileSync(at("trained.run/run.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
      .filter(({ event }) => event !== "angles");
    expect(log.every(({ penalty }) => penalty === 0)).toBe(true);

    const checkpoint = await readCheckpoint(at("checkpoint-next"));
    expect(checkpoint.optimizer?.step).toBe(10 + 12);
    expect(checkpoint.properties.get("note")).toBe("half way");
    const inference = await readModel(at("trained.onnx"));
    const { x } = officialBatch("cnn", 0);
    const { logits } = await runModel(encodeModel(inference), { x });
    expect(logits?.dims).toEqual([8, 5]);

    const session = await OfficialSession.create({
      checkpointState: readFileSync(at("checkpoint-next")),
      trainModel: readFileSync(model),
      optimizerModel: readFileSync(join(run, "optimizer_model.onnx")),
    });
    const own = await session.parameters({ trainableOnly: true });
    await session.release();
    const written = checkpoint.parameters.flatMap((tensor) => tensor.numbers());
    expect([...own].sort()).toEqual(written.sort());
  });

  it("counts loss and accuracy over every test sample, as the model that it writes has them", async () => {
    const model = join(artifactsOf("cnn"), "training_model.onnx");
    const argv = ["--data", dataOf("cnn", 6), "-o", at("trained.onnx"), "--quiet", "--json"];
    const { code, stdout } = await cli("train", model, ...argv);
    expect(code).toBe(0);
    let correct = 0;
    for (const [index, rows] of [6, 7].map((batch, i) => [batch, [8, 4][i] ?? 0] as const)) {
      const { x, labels } = officialBatch("cnn", index);
      const { logits } = await runModel(readFileSync(at("trained.onnx")), { x });
      for (let row = 0; row < rows; row++) {
        const scores = logits?.numbers().slice(row * 5, row * 5 + 5) ?? [];
        if (scores.indexOf(Math.max(...scores)) === labels.numbers()[row]) correct++;
      }
    }
    expect(JSON.parse(stdout).test).toMatchObject({ accuracy: correct / 12, samples: 12 });
  });

  it("adds a penalty when asked", async () => {
    const model = join(artifactsOf("cnn"), "training_model.onnx");
    const options = ["--data", dataOf("cnn", 6), "--weight", "0.05", "--lambda1", "100", "--quiet"];
    expect((await cli("train", model, "-o", at("trained.onnx"), ...options)).code).toBe(0);
    const log = readFileSync(at("trained.run/run.jsonl"), "utf8").split("\n");
    const first = log.find((line) => line.includes('"event":"step"'));
    expect(JSON.parse(first ?? "").penalty).toBeGreaterThan(1);
  });

  it("takes the checkpoint beside it, and resumes its own run", async () => {
    const run = artifactsOf("mlp");
    const model = join(run, "training_model.onnx");
    const common = ["--data", dataOf("mlp", 6), "--penalty", "none", "--quiet", "--batch", "16"];
    const whole = await cli("train", model, "-o", at("whole.onnx"), "--epochs", "2", ...common);
    expect([whole.code, whole.stderr]).toEqual([0, ""]);
    const half = ["-o", at("half.onnx"), "--epochs", "1"];
    expect((await cli("train", model, ...half, ...common)).code).toBe(0);
    const rest = await cli(
      ...["train", model, "-o", at("rest.onnx"), "--resume", at("half.run"), "--epochs", "2"],
      ...["--data", at("mlp.npz"), "--quiet"],
    );
    expect([rest.code, rest.stderr]).toEqual([0, ""]);
    expect(readFileSync(at("rest.onnx")).equals(readFileSync(at("whole.onnx")))).toBe(true);
  });

  it("reads the optimizer model only when no other optimizer is chosen", async () => {
    const run = artifactsOf("mlp");
    const { proto } = optimizerModel("adamw");
    const bias = proto.graph?.node?.[0]?.attribute?.find(({ name }) => name === "correct_bias");
    if (!bias) throw new Error("the optimizer model has no attribute correct_bias");
    bias.i = Long.ZERO;
    writeFileSync(join(run, "optimizer_model.onnx"), encodeModel(Model.fromProto(proto)));
    const train = [
      "train",
      join(run, "training_model.onnx"),
      "-o",
      at("out.onnx"),
      "--data",
      dataOf("mlp", 1),
    ];
    const options = ["--penalty", "none", "--batch", "16", "--quiet"];
    const former = await cli(...train, ...options);
    expect([former.code, former.stderr]).toEqual([1, expect.stringMatching(/choose one \(--optimizer\)/)]);
    const chosen = await cli(...train, ...options, "--optimizer", "sgd");
    expect([chosen.code, chosen.stderr]).toEqual([0, ""]);
  });

  it("refuses what does not fit, and writes nothing", async () => {
    const run = artifactsOf("mlp");
    const model = join(run, "training_model.onnx");
    const data = dataOf("mlp", 1);
    const before = snapshot(folder.path);
    const wrong: readonly (readonly [readonly string[], RegExp])[] = [
      [
        ["train", model, "--checkpoint", officialPath("cnn/checkpoint")],
        /of another model: it has no "a.weight"/,
      ],
      [["train", model, "--checkpoint", at("none")], /cannot read the checkpoint ".*none": no such file/],
      [["train", model, "--checkpoint", model], /is not a checkpoint of ONNX Runtime's training API/],
      [["train", model, "--loss", "logits"], /holds its loss .* leave --loss and --objective out/],
      [
        ["train", join(run, "optimizer_model.onnx")],
        /its optimizer model; a run goes on from training_model.onnx/,
      ],
      [
        ["train", join(run, "forward.onnx"), "--ort-checkpoint", at("c")],
        /--ort-checkpoint belongs to runs that go on from training_model.onnx/,
      ],
    ];
    for (const [argv, message] of wrong) {
      const result = await cli(
        ...argv,
        "--data",
        data,
        "-o",
        at("out.onnx"),
        "--penalty",
        "none",
        "--batch",
        "16",
      );
      expect([result.code > 0, result.stderr], argv.join(" ")).toEqual([
        true,
        expect.stringMatching(message),
      ]);
      expect(snapshot(folder.path)).toEqual(before);
    }
  });
});

describe("sorth-onnx artifacts", () => {
  const forward = officialPath("cnn/forward.onnx");

  it("writes a run that ONNX Runtime's own session trains", async () => {
    const options = ["--batch", "8", "--weight", "0.05", "--lambda1", "100"];
    const result = await cli("artifacts", forward, "-o", at("run"), ...options);
    expect([result.code, result.stderr]).toEqual([0, expect.any(String)]);
    expect(readdirSync(at("run")).sort()).toEqual([
      "checkpoint",
      "eval_model.onnx",
      "optimizer_model.onnx",
      "training_model.onnx",
    ]);
    const read = (name: string) => readFileSync(join(at("run"), name));
    const session = await OfficialSession.create({
      checkpointState: read("checkpoint"),
      trainModel: read("training_model.onnx"),
      evalModel: read("eval_model.onnx"),
      optimizerModel: read("optimizer_model.onnx"),
    });
    const { loss } = await session.step(officialBatch("cnn", 0));
    await session.release();
    expect(loss?.numbers()[0]).toBeCloseTo(pytorch.networks.cnn?.som.adamw[0] ?? 0, 5);

    const before = snapshot(folder.path);
    const again = await cli("artifacts", forward, "-o", at("run"), ...options);
    expect([again.code, again.stderr]).toEqual([2, expect.stringMatching(/already exists.*--force/)]);
    expect(snapshot(folder.path)).toEqual(before);
  });
});

describe("sorth-onnx artifacts, unasked", () => {
  it("adds no penalty, and replaces a run as a whole", async () => {
    const forward = officialPath("mlp/forward.onnx");
    expect((await cli("artifacts", forward, "-o", at("run"), "--batch", "8", "--weight", "0.05")).code).toBe(
      0,
    );
    const outputs = async () =>
      ((await readModel(join(at("run"), "training_model.onnx"))).proto.graph?.output ?? []).map(
        ({ name }) => name,
      );
    expect(await outputs()).toContain("sorth_penalty");
    expect((await cli("artifacts", forward, "-o", at("run"), "--batch", "8", "--force")).code).toBe(0);
    expect(await outputs()).not.toContain("sorth_penalty");
    expect(readdirSync(at("run"))).toHaveLength(4);
  });
});

describe("sorth-onnx step", () => {
  it("writes a step and the state to begin with, in one graph or two", async () => {
    const options = ["--batch", "8", "--penalty", "none"];
    const model = officialPath("mlp/forward.onnx");
    expect((await cli("step", model, "-o", at("step.onnx"), ...options)).code).toBe(0);
    expect((await cli("step", model, "-o", at("step.onnx"), "--split", ...options)).code).toBe(2);
    expect((await cli("step", model, "-o", at("split.onnx"), "--split", ...options)).code).toBe(0);
    expect(readdirSync(folder.path).sort()).toEqual([
      "split.gradients.onnx",
      "split.initial.onnx",
      "split.update.onnx",
      "step.initial.onnx",
      "step.onnx",
    ]);
    const state = await runModel(readFileSync(at("step.initial.onnx")), {});
    const { x, labels } = officialBatch("mlp", 0);
    const outputs = await runModel(readFileSync(at("step.onnx")), {
      ...state,
      x: Tensor.float("x", [8, 20], x.numbers().slice(0, 160)),
      labels: Tensor.of("labels", "int32", [8], Int32Array.from(labels.numbers().slice(0, 8))),
      learning_rate: Tensor.float("learning_rate", [], [1e-3]),
      step: Tensor.float("step", [], [1]),
    });
    for (const name of Object.keys(state))
      expect(outputs[`${name}.next`]?.dims, name).toEqual(state[name]?.dims);
    expect(outputs.loss?.numbers()[0]).toBeGreaterThan(0);
  });
});
