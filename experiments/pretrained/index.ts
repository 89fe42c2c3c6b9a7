/**
 * New classes and recovered BatchNorm, beside PyTorch. Networks of torchvision and timm that know the digits 0 to 4 learn the
 * digits 5 to 9 from 250 samples, by `train --classes`: the new last layer alone, and all weights, the latter from the export that
 * keeps BatchNorm and from the default one, in which it is folded, with and without `--batch-norm recover`.
 *
 * Run: npx tsx experiments/pretrained/index.ts FOLDER (of experiments/pretrained/pretrain.py) [output.json]
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../../src/cli/program.ts";
import { estimate, pairedDifference } from "../statistics.ts";

interface Recipe {
  readonly seeds: number;
  readonly training: number;
  readonly testing: number;
  readonly batch: number;
  readonly epochs: number;
  readonly rates: { readonly head: number; readonly all: number };
}

/** What pretrain.py found: shares of right answers, one for each seed. */
interface TorchResults {
  readonly recipe: Recipe;
  readonly networks: Readonly<
    Record<
      string,
      { readonly layer: string; readonly head: readonly number[]; readonly all: readonly number[] }
    >
  >;
}

const [folder = "", output = "experiments/pretrained/results.json"] = process.argv.slice(2);
const { recipe, networks } = JSON.parse(readFileSync(join(folder, "torch.json"), "utf8")) as TorchResults;
const classes = "five,six,seven,eight,nine";

/** Runs a command line; its JSON. */
async function sorth(...words: string[]): Promise<Record<string, unknown>> {
  const written = { stdout: "", stderr: "" };
  const into = (stream: "stdout" | "stderr") => ({
    write: (text: string) => {
      written[stream] += text;
    },
  });
  const streams = { stdout: into("stdout"), stderr: into("stderr") };
  const code = await run([...words, "--json", "--force"], streams);
  if (code !== 0) throw new Error(`sorth-onnx ${words.join(" ")}: ${written.stderr}`);
  return JSON.parse(written.stdout) as Record<string, unknown>;
}

/** Trains an export with each seed. @returns the shares of right answers on the test samples */
async function accuracies(file: string, way: "head" | "all", ...flags: string[]): Promise<number[]> {
  const found: number[] = [];
  for (let seed = 0; seed < recipe.seeds; seed++) {
    const trained = join(folder, "trained.onnx");
    const data = ["--data", join(folder, `data-${seed}.npz`)];
    const sizes = [
      "--batch",
      `${recipe.batch}`,
      "--epochs",
      `${recipe.epochs}`,
      "--lr",
      `${recipe.rates[way]}`,
    ];
    const common = [
      ...data,
      ...sizes,
      "--seed",
      `${seed}`,
      "--penalty",
      "none",
      "--classes",
      classes,
      "--no-report",
    ];
    await sorth("train", join(folder, file), ...common, ...flags, "-o", trained);
    const { accuracy } = await sorth("evaluate", trained, ...data);
    found.push(accuracy as number);
  }
  return found;
}

const percent = (share: number) => Math.round(share * 10_000) / 100;
const figures = (all: readonly number[]) => {
  const { mean, margin } = estimate(all);
  return { mean: percent(mean), margin: percent(margin), seeds: all.map(percent) };
};

const began = performance.now();
const results: Record<string, unknown> = { recipe };
for (const [name, torch] of Object.entries(networks)) {
  const alone = ["--trainable", `^${torch.layer.replaceAll(".", "\\.")}\\.`];
  const ours = {
    "new last layer": await accuracies(`${name}.onnx`, "head", ...alone),
    "all weights, BatchNorm kept": await accuracies(`${name}.kept.onnx`, "all"),
    "all weights, BatchNorm recovered": await accuracies(`${name}.onnx`, "all", "--batch-norm", "recover"),
    "all weights, BatchNorm folded": await accuracies(`${name}.onnx`, "all"),
  };
  const compared = Object.entries(ours).map(([way, all]) => {
    const theirs = way === "new last layer" ? torch.head : torch.all;
    const { mean, margin } = pairedDifference(all, theirs);
    return [way, { ...figures(all), "minus PyTorch": { mean: percent(mean), margin: percent(margin) } }];
  });
  results[name] = {
    "PyTorch, new last layer": figures(torch.head),
    "PyTorch, all weights": figures(torch.all),
    ...Object.fromEntries(compared),
  };
  console.log(name, JSON.stringify(results[name], undefined, 1));
}
console.log(`${Math.round((performance.now() - began) / 1000)} s`);
writeFileSync(output, `${JSON.stringify(results, undefined, 2)}\n`);
