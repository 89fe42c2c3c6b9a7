import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { identityOf } from "../../src/data/checksum.ts";
import { subset } from "../../src/data/dataset.ts";
import { parseNpy } from "../../src/data/npy.ts";
import type { Contract } from "../../src/distribute/contract.ts";
import { distributionOf } from "../../src/distribute/distribution.ts";
import {
  arrayDataset,
  augmentedDataset,
  crossEntropy,
  distribute,
  dso,
  loadData,
  readModel,
  sgd,
  som,
  Trainer,
  writeModel,
} from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { buildGradientStep } from "../../src/programs/split-step.ts";
import { nodeRuntime } from "../../src/runtime/node.ts";
import { npz } from "../cli/npz.ts";
import { cli, temporaryFolder } from "../cli/run-cli.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { network } from "../runtime/small-run.ts";
import { smallModel } from "./small-model.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
const contractOf = (name: string) =>
  JSON.parse(readFileSync(at(`${name}/contract.json`), "utf8")) as Contract;

beforeAll(async () => {
  await writeModel(smallModel(), at("model.onnx"));
  await writeModel(smallModel(8), at("fixed.onnx"));
  writeFileSync(
    at("data.npz"),
    npz(60, [6], (index) => index % 3),
  );
});
afterAll(() => folder.remove());

describe("sorth-onnx distribute", () => {
  it("writes graphs for a part of the batch, the first state and the Python package", async () => {
    const flags = ["--batch", "8", "--workers", "4", "--epochs", "3", "--schedule", "cosine:warmup=10%"];
    const { code, stderr } = await cli("distribute", at("model.onnx"), "-o", at("shared"), ...flags);
    expect({ code, errors: stderr.match(/error.*/) }).toEqual({ code: 0, errors: null });
    const parts = ["update.0.onnx", "update.1.onnx", "update.2.onnx", "update.3.onnx"];
    const files = [
      "contract.json",
      "evaluation.onnx",
      "gradients.onnx",
      "model.onnx",
      "requirements.txt",
      "run.py",
    ];
    expect(readdirSync(at("shared")).sort()).toEqual(
      [...files, "sorth_distributed", "state", ...parts, "update.onnx"].sort(),
    );
    expect(readdirSync(at("shared/state")).sort()).toEqual(["last.safetensors", "model.onnx"]);
    expect(existsSync(at("shared/sorth_distributed/worker.py"))).toBe(true);
    const contract = contractOf("shared");
    expect(contract).toMatchObject({ batch: 8, shards: 4, seed: 0, fit: { epochs: 3 } });
    expect(contract.schedule).toEqual({ name: "cosine", options: { warmup: "10%" } });
    expect(contract.feeds.inputs[0]?.shape).toEqual([2, 6]);
    expect(contract.masks).toEqual([
      { name: "drop.mask", type: "float", shape: [8, 8], ratio: 0.25, cut: 0 },
    ]);
    expect(contract.stages[0]?.reduce.map(({ name, op }) => `${op} ${name}`)).toContain(
      "mean fc1.weight.grad",
    );
    expect(contract.update.parts.flatMap(({ parameters }) => parameters).sort()).toEqual(
      contract.parameters.map(({ name }) => name).sort(),
    );
    expect(contract.export.weights).toHaveLength(4);
  });

  it("hands on what decides between epochs, and the metrics", async () => {
    const flags = ["--metrics", "f1,top-2", "--monitor", "val_f1", "--early-stop", "3", "--keep", "2"];
    const more = ["--minimum-change", "0.1", "--from", "best", "--batch", "8"];
    expect((await cli("distribute", at("model.onnx"), "-o", at("decides"), ...flags, ...more)).code).toBe(0);
    const { fit, evaluation } = contractOf("decides");
    expect(fit).toEqual({
      ...{ epochs: 1, monitor: "val_f1", keep: 2, from: "best" },
      earlyStop: { patience: 3, minimumChange: 0.1 },
    });
    expect(evaluation.metrics).toEqual({ term: 0, kind: "classes", names: ["f1", "top2"] });
    const higher = ["accuracy", "f1", "top2"].map((name) => [name, "higher"] as const);
    expect(evaluation.figures).toEqual({ loss: "lower", ...Object.fromEntries(higher) });
  });

  it("hands on how samples change, and no parts of an update that reads the state of all parameters", async () => {
    const flags = ["--augment", "flip,mixup=0.2", "--accumulate", "2", "--clip-norm", "1", "--batch", "8"];
    const words = [at("model.onnx"), "-o", at("changes"), "--workers", "2", ...flags];
    expect((await cli("distribute", ...words)).code).toBe(0);
    const { data, update } = contractOf("changes");
    expect([data.augment, data.mixup, update.parts]).toEqual([{ flip: true }, 0.2, []]);
    const images = arrayDataset(new Uint8Array(4 * 48), new Int32Array(4), [6, 8]);
    const changed = await augmentedDataset(images, { crop: 2 });
    const own = { output: at("images-in-memory"), data: changed };
    const options = { objective: crossEntropy(), batch: 2, penalties: [] };
    await distribute(await readModel("test/fixtures/data/grey.onnx"), { ...options, ...own });
    expect(contractOf("images-in-memory").data.augment).toEqual({ crop: 2 });
    // Which change a sample gets depends on its place among all, which a part does not hold.
    const part = { ...own, data: subset(changed, Uint32Array.of(1, 3)), output: at("part") };
    const refused = distribute(await readModel("test/fixtures/data/grey.onnx"), { ...options, ...part });
    await expect(refused).rejects.toThrow(/change at random while training.*take the samples first/);
  });

  it("converts a folder of images into arrays", async () => {
    const [model, data] = ["test/fixtures/data/image.onnx", "test/fixtures/data/pictures"];
    const { code, stderr } = await cli(
      "distribute",
      model,
      "--data",
      data,
      "-o",
      at("images"),
      "--batch",
      "6",
    );
    expect(code).toBe(0);
    expect(stderr).toContain("18 samples to train on, converted for this model");
    const { converted, conversion } = contractOf("images").data;
    expect(converted).toMatchObject({ source: resolve(data), train: { size: 18 }, validation: { size: 3 } });
    expect(conversion).toMatchObject({ classes: ["setosa", "versicolor", "virginica"], normalize: "0..1" });
    const { train } = await loadData(data, { model: await readModel(model) });
    const x = new Uint8Array(18 * 144);
    await train.fill([...Array(18).keys()], x, new Int32Array(18));
    const [pixels, labels] = converted?.train.columns ?? [];
    expect([pixels?.bytes, labels?.labels]).toEqual([true, true]);
    const file = parseNpy(new Uint8Array(readFileSync(at(`images/${pixels?.file}`))), "pixels");
    expect([file.shape, file.data]).toEqual([[18, 3, 6, 8], x]);
    const own = identityOf(train).checksum;
    expect(converted?.train.checksums).toEqual([own, identityOf(train, "crc32:").checksum]);
  });

  it.each([
    { flags: ["--metrics", "r2"], says: 'the metric "r2" is not defined for the labels of cross-entropy' },
    { flags: ["--minimum-change", "1"], says: "--minimum-change belongs to --early-stop" },
    { flags: ["--batch", "10", "--workers", "4"], says: "give --batch 8 or 12" },
    { flags: ["--seeds", "1,2"], says: "--seeds does several runs" },
    { flags: ["--checkpoint", "run"], says: "--checkpoint is a flag of run.py" },
    { flags: ["--steps-per-run", "4"], says: "--steps-per-run has no effect" },
    { flags: ["--buckets", "8,16"], says: "--buckets is not distributed: train on one machine" },
    { flags: ["--backend", "webgpu"], says: "Python's ONNX Runtime has cpu and cuda" },
    { flags: ["--tokenizer", "pieces"], says: "give --data too, from which tables, images and texts" },
    { flags: ["--class-weights", "balanced"], says: "needs data: give --data too" },
    { flags: ["--no-report"], says: "--no-report has no effect" },
    { flags: ["--no-update-bn"], says: "--no-update-bn belongs to --swa" },
  ])("refuses $flags", async ({ flags, says }) => {
    const { code, stderr } = await cli("distribute", at("model.onnx"), "-o", at("refused"), ...flags);
    expect({ code, lines: stderr.trim().split("\n").length }).toEqual({ code: 2, lines: 1 });
    expect(stderr).toContain(says);
    expect(existsSync(at("refused"))).toBe(false);
  });

  it("refuses to share a batch that the model fixes, and a folder with other files", async () => {
    const fixed = await cli("distribute", at("fixed.onnx"), "-o", at("refused"), "--workers", "2");
    expect(fixed.code).toBe(2);
    expect(fixed.stderr).toContain("batch");
    const full = await cli("distribute", at("model.onnx"), "-o", folder.path, "--batch", "8");
    expect(full.stderr).toContain("is not empty; give another folder with -o, or --force");
  });

  it("measures BatchNorm again for averaged weights, unless told not to", async () => {
    await writeModel(network(), at("norm.onnx"));
    const words = ["distribute", at("norm.onnx"), "--batch", "8", "--workers", "2", "--swa", "2"];
    expect((await cli(...words, "-o", at("updated"), "--running-variance", "torch")).code).toBe(0);
    const { batchNorm, statistics } = contractOf("updated");
    expect(batchNorm?.statistics.map(({ state }) => state)).toEqual(statistics.map(({ input }) => input));
    expect(batchNorm?.feeds.inputs[0]?.shape[0]).toBe(8);
    expect(batchNorm?.statistics.filter(({ factor }) => factor > 1)).toHaveLength(statistics.length / 2);
    expect((await cli(...words, "-o", at("kept"), "--no-update-bn")).code).toBe(0);
    expect(contractOf("kept").batchNorm).toBeNull();
  });

  it("says what workers leave out of a run that it takes over", async () => {
    const train = ["--data", at("data.npz"), "--batch", "8", "--max-steps", "3", "--no-report", "--quiet"];
    const begin = (name: string, ...flags: string[]) =>
      cli("train", at("model.onnx"), ...train, ...flags, "-o", at(`${name}.onnx`));
    const resume = (name: string) => cli("distribute", "--resume", at(`${name}.run`), "-o", at(`${name}-on`));
    await begin("board", "--tensorboard", at("events"));
    const board = await resume("board");
    expect(board.code).toBe(0);
    expect(board.stderr).toContain("the run was begun with --tensorboard, which is not written by workers");
  });

  it("goes on from a run, and writes graphs that put adapters into the trained weights", async () => {
    const train = ["--data", at("data.npz"), "--batch", "8", "--max-steps", "3", "--no-report", "--quiet"];
    await cli("train", at("model.onnx"), ...train, "-o", at("begun.onnx"));
    const resume = ["distribute", "--resume", at("begun.run"), "--workers", "2"];
    const going = await cli(...resume, "-o", at("going"));
    expect(going.code).toBe(0);
    // The data of the run, which the next command needs.
    expect(going.stdout).toContain(`--data ${at("data.npz")} `);
    const last = (name: string) => readFileSync(at(`${name}/last.safetensors`));
    expect(last("going/state").equals(last("begun.run"))).toBe(false);
    expect(last("going/state").toString("latin1")).toContain('\\"step\\":3');
    const lora = ["--batch", "8", "--lora", "rank=2"];
    const { stdout } = await cli("distribute", at("model.onnx"), "-o", at("lora"), ...lora);
    expect(stdout).toMatch(/--checkpoint run -o trained.onnx\n$/);
    expect(contractOf("lora").export.weights).toMatchObject([{ name: "fc1.weight", graph: "weight-1.onnx" }]);
  });
});

describe("the commands of the guides", () => {
  const fixtures = "test/fixtures";
  /** What stands for the files that the guides name. */
  const stands: Readonly<Record<string, string>> = {
    ...{ "model.onnx": "model.onnx", "people.csv": "people.csv", "trained.run": "trained.run" },
    ...{ "image.onnx": `${fixtures}/data/image.onnx`, pictures: `${fixtures}/data/pictures` },
    ...{
      "classifier.onnx": `${fixtures}/text/classifier.onnx`,
      "reviews.csv": `${fixtures}/text/reviews.csv`,
    },
    tokenizer: `${fixtures}/text/word-pieces`,
  };
  const lines = ["docs/distribute.md", "docs/federated.md"].flatMap((guide) =>
    [...readFileSync(guide, "utf8").matchAll(/^ {4}sorth-onnx (distribute .+)$/gm)].map(
      ([, line = ""]) => line,
    ),
  );

  beforeAll(async () => {
    const rows = Array.from({ length: 24 }, (_, i) => [...Array(6).keys()].map((k) => (i * 7 + k * 5) % 11));
    const header = "a,b,c,d,e,f,label";
    const text = rows.map((row, i) => `${row.join()},${["x", "y", "z"][i % 3]}`);
    writeFileSync(at("people.csv"), [header, ...text].join("\n"));
    const run = ["--data", at("data.npz"), "--batch", "8", "--max-steps", "2", "--no-report", "--quiet"];
    await cli("train", at("model.onnx"), ...run, "-o", at("trained.onnx"));
  });

  it.each(lines)("sorth-onnx %s", async (line) => {
    const words = line.split(" ").map((word, i, all) => {
      if (all[i - 1] === "-o") return at(`guide-${word}`);
      const own = stands[word];
      return own === undefined || own.includes("/") ? (own ?? word) : at(own);
    });
    const { code, stderr } = await cli(...words, "--force");
    expect({ code, errors: stderr.match(/^.*error.*$/gm) }).toEqual({ code: 0, errors: null });
  });
});

it("distribute() writes a run of the library, with data in memory, or a trainer from where it stands", async () => {
  const y = Int32Array.from(randomInts("labels", 60, 0, 3));
  const data = arrayDataset(randomFloats("samples", 360), y, [6]);
  const training = { objective: crossEntropy(), optimizer: sgd(), penalties: [som()], batch: 8 };
  const messages: string[] = [];
  const onMessage = (message: string) => void messages.push(message);
  const fit = { epochs: 2, validation: 0.2, earlyStop: 3, from: "best" } as const;
  const written = await distribute(smallModel(), {
    ...{ ...training, output: at("library"), workers: 2, data, fit, onMessage },
  });
  expect(written).toEqual({
    folder: at("library"),
    workers: 2,
    batch: 8,
    exact: false,
    converted: true,
    exports: true,
  });
  expect(messages.join("\n")).toMatch(
    /each of the 2 parts of the batch[\s\S]*60 samples to train on, converted/,
  );
  const contract = contractOf("library");
  expect(contract).toMatchObject({ settings: null, fit: { ...fit, earlyStop: { patience: 3 } } });
  const labels = contract.data.converted?.train.columns.find((one) => one.labels)?.file;
  expect(parseNpy(new Uint8Array(readFileSync(at(`library/${labels}`))), "labels").data).toEqual(y);
  const trainer = await Trainer.create(smallModel(), training);
  for await (const _ of trainer.fit(data, { maxSteps: 3 }));
  await distribute(trainer, { output: at("stands") });
  await trainer.release();
  expect(readFileSync(at("stands/state/last.safetensors"), "latin1")).toContain('\\"step\\":3');
  const wrong = distribute(smallModel(), { ...training, output: at("wrong"), fit: { keep: 0 } });
  await expect(wrong).rejects.toThrow("the number of checkpoints to keep");
});

it("the mean over shards is the gradient of the joint batch, with Dropout", async () => {
  const options = { objective: crossEntropy(), optimizer: sgd(), batch: 8, penalties: [] };
  const trainer = await Trainer.create(smallModel(), options);
  const { contract, files } = await distributionOf(trainer, { workers: 4 }, nodeRuntime);
  await trainer.release();
  const x = randomFloats("x", 48);
  const labels = Int32Array.from(randomInts("y", 8, 0, 3));
  const mask = Float32Array.from(randomInts("mask", 64, 0, 2));
  const state = new Map([...trainer.step.initial].map(([name, tensor]) => [name, tensor]));
  const feeds = (first: number, rows: number) =>
    new Map([
      ...state,
      ["x", Tensor.float("x", [rows, 6], x.slice(first * 6, (first + rows) * 6))],
      ["labels", Tensor.of("labels", "int32", [rows], labels.slice(first, first + rows))],
      ["drop.mask", Tensor.float("drop.mask", [rows, 8], mask.slice(first * 8, (first + rows) * 8))],
    ]);
  const graph = files.get(contract.stages[0]?.file ?? "")?.bytes ?? new Uint8Array();
  const shards = await Promise.all(
    [0, 2, 4, 6].map((first) => runModel(graph, Object.fromEntries(feeds(first, 2)))),
  );
  const joint = await buildGradientStep(smallModel(), options, nodeRuntime.probe);
  const whole = await runModel(joint.gradients.bytes, Object.fromEntries(feeds(0, 8)));
  for (const { name } of contract.stages[0]?.reduce ?? []) {
    const expected = whole[name]?.numbers() ?? [];
    const mean = Array.from(
      expected,
      (_, i) => shards.reduce((sum, one) => sum + (one[name]?.numbers()[i] ?? Number.NaN), 0) / 4,
    );
    expect(Math.max(...mean.map((value, i) => Math.abs(value - (expected[i] ?? 0))))).toBeLessThan(1e-6);
  }
});

it("penalties by name stay in the contract with their schedules", async () => {
  const trainer = await Trainer.create(smallModel(), {
    ...{ objective: crossEntropy(), batch: 8 },
    penalties: [
      { penalty: som(), schedule: "linear" },
      { penalty: dso(), weight: 0.2, include: /fc1/ },
    ],
  });
  const { contract } = await distributionOf(trainer, { workers: 2 }, nodeRuntime);
  await trainer.release();
  expect(contract.penaltySchedules).toEqual({ som: { name: "linear", options: {} } });
  expect(contract.penalties.map(({ name }) => name)).toEqual(["som", "dso"]);
});
