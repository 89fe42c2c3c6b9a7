import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Chance } from "../chance.ts";
import type { Family, Files } from "../family.ts";
import { changedNpz } from "../mutate/arrays.ts";
import { changedText, hostileValue } from "../mutate/text.ts";
import { filesIn } from "../seeds.ts";
import { command } from "./command.ts";
import { changedModel } from "./models.ts";

const crossEntropy = ["--objective", "cross-entropy"];
/** Flags of a training run of two steps. */
const twoSteps = [...crossEntropy, "--batch", "4", "--max-steps", "2", "--threads", "1", "--no-report"];

/** A model and data that fit: one of them changed. */
async function modelAndData(chance: Chance, seeds: string): Promise<Files> {
  const model = await readFile(join(seeds, "network.onnx"));
  const data = await readFile(join(seeds, "data.npz"));
  const isModel = !chance.once(4);
  return new Map([
    ["model.onnx", isModel ? changedModel(model, chance) : model],
    ["data.npz", isModel ? data : changedNpz(data, chance)],
  ]);
}

/** Every command that reads a model, in its own words. */
export const commands: Family = {
  name: "commands",
  weight: 6,
  files: modelAndData,
  entries: {
    inspect: command((folder) => ["inspect", join(folder, "model.onnx")]),
    inject: command((folder, out) => [
      ...["inject", join(folder, "model.onnx"), "-o", join(out, "injected.onnx"), "--per-site"],
      ...crossEntropy,
    ]),
    strip: command((folder, out) => ["strip", join(folder, "model.onnx"), "-o", join(out, "stripped.onnx")]),
    verify: command((folder) => ["verify", join(folder, "model.onnx")]),
    head: command((folder, out) => [
      ...["head", join(folder, "model.onnx"), "--classes", "4", "-o", join(out, "head.onnx")],
    ]),
    "free-batch": command((folder, out) => [
      ...["free-batch", join(folder, "model.onnx"), "-o", join(out, "batch.onnx")],
    ]),
    merge: command((folder, out) => ["merge", join(folder, "model.onnx"), "-o", join(out, "merged.onnx")]),
    tap: command((folder, out) => [
      ...["tap", join(folder, "model.onnx"), "--include", ".", "-o", join(out, "tapped.onnx")],
    ]),
    grad: command((folder, out) => [
      ...["grad", join(folder, "model.onnx"), ...crossEntropy, "--batch", "2", "-o", join(out, "grad.onnx")],
    ]),
    "grad --jvp": command((folder, out) => [
      ...["grad", join(folder, "model.onnx"), "--jvp", "--batch", "2", "-o", join(out, "grad.onnx")],
    ]),
    step: command((folder, out) => [
      ...["step", join(folder, "model.onnx"), ...crossEntropy, "--batch", "2", "--penalty", "so"],
      ...["-o", join(out, "step.onnx")],
    ]),
    artifacts: command((folder, out) => [
      ...["artifacts", join(folder, "model.onnx"), ...crossEntropy, "-o", join(out, "artifacts.run")],
    ]),
    train: command((folder, out) => [
      ...["train", join(folder, "model.onnx"), "--data", join(folder, "data.npz"), ...twoSteps],
      ...["--penalty", "som", "-o", join(out, "trained.onnx")],
    ]),
    "find-lr": command((folder) => [
      ...["find-lr", join(folder, "model.onnx"), "--data", join(folder, "data.npz"), ...crossEntropy],
      ...["--batch", "4", "--steps", "3"],
    ]),
    evaluate: command((folder) => [
      ...["evaluate", join(folder, "model.onnx"), "--data", join(folder, "data.npz"), ...crossEntropy],
    ]),
    predict: command((folder, out) => [
      ...["predict", join(folder, "model.onnx"), "--data", join(folder, "data.npz")],
      ...["-o", join(out, "predictions.csv")],
    ]),
    angles: command((folder, out) => [
      ...["angles", join(folder, "model.onnx"), "--data", join(folder, "data.npz"), "--csv"],
      ...["--html", join(out, "angles.html")],
    ]),
    bench: command((folder) => [
      ...["bench", join(folder, "model.onnx"), ...crossEntropy, "--backend", "cpu", "--batch", "4"],
      ...["--rounds", "1", "--round-time", "1"],
    ]),
  },
};

const configuration = `model: MODEL
data: DATA
objective: { cross-entropy: { labelSmoothing: 0.1 } }
batch: 4
validation: 0.25
optimizer: { adamw: { weightDecay: 0.01 } }
lr: 1e-3
schedule: { name: cosine, warmup: 1 }
penalty:
  - { name: so, weight: 0.01, include: fc1 }
  - som
freeze: [fc1.bias]
group: ["fc1:lr=0.1,freeze-until=1"]
classWeights: [1, 2, 1]
metrics: f1
early-stop: 3
ema: 0.9
clip-norm: 1
accumulate: 1
seed: 1
report: false
`;

/** A configuration with the value of one flag replaced, or with cells and lines changed as in any other text file. */
function changedFlag(text: string, chance: Chance): string {
  if (chance.once(3)) return changedText(text, chance);
  const lines = text.split("\n");
  const at = chance.below(lines.length);
  lines[at] = `${lines[at]?.split(":")[0]}: ${hostileValue(chance)}`;
  return lines.join("\n");
}

/** Configuration files: flags that do not exist, that contradict each other, and values of every kind. */
export const configurations: Family = {
  name: "configurations",
  weight: 2,
  async files(chance, seeds) {
    const files = new Map<string, Uint8Array>([
      ["model.onnx", await readFile(join(seeds, "network.onnx"))],
      ["data.npz", await readFile(join(seeds, "data.npz"))],
    ]);
    return files.set("config.yaml", Buffer.from(changedFlag(configuration, chance)));
  },
  entries: {
    // What the command line says goes before what the file says: work and written files stay within bounds.
    train: command((folder, out) => [
      ...["train", join(folder, "model.onnx"), "--data", join(folder, "data.npz")],
      ...["--config", join(folder, "config.yaml"), "--max-steps", "2", "--epochs", "1", "--threads", "1"],
      ...["--steps-per-run", "1", "-o", join(out, "trained.onnx"), "--checkpoint", join(out, "trained.run")],
    ]),
    evaluate: command((folder) => [
      ...["evaluate", join(folder, "model.onnx"), "--data", join(folder, "data.npz")],
      ...["--config", join(folder, "config.yaml")],
    ]),
  },
};

/** Folders of runs, by command. */
export const runs: Family = {
  name: "runs by command",
  weight: 2,
  changesInput: true,
  async files(chance, seeds) {
    const { withChange } = await import("./runs.ts");
    const files = withChange(await filesIn(join(seeds, "run")), chance);
    return files.set("data.npz", await readFile(join(seeds, "data.npz")));
  },
  entries: {
    "train --resume": command((folder, out) => [
      ...["train", "--resume", folder, "--data", join(folder, "data.npz"), "--max-steps", "8"],
      ...["--epochs", "4", "-o", join(out, "trained.onnx")],
    ]),
    export: command((folder, out) => ["export", folder, "-o", join(out, "trained.onnx")]),
    "export --from best": command((folder, out) => [
      ...["export", folder, "--from", "best", "-o", join(out, "trained.onnx")],
    ]),
    angles: command((folder) => ["angles", folder]),
    "train --config": command((folder, out) => [
      ...["train", join(folder, "model.onnx"), "--data", join(folder, "data.npz")],
      ...["--config", join(folder, "config.yaml"), "--max-steps", "2", "--epochs", "1"],
      ...["-o", join(out, "trained.onnx"), "--checkpoint", join(out, "trained.run")],
    ]),
  },
};
