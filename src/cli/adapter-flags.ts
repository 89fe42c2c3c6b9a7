import { type Command, InvalidArgumentError } from "commander";
import type { Adapter, LoraOptions, WeightedAdapter } from "../adapters/adapter.ts";
import { readAdapter, writeAdapter } from "../adapters/adapter-files-node.ts";
import { checkTakesInputs } from "../adapters/adapter-inputs.ts";
import { kindOf, otherKind } from "../adapters/kinds.ts";
import { adapterNumbers, adapterOf, optionsOf } from "../adapters/load.ts";
import { isOnnxAdapter } from "../adapters/onnx-adapter-file.ts";
import { hasAdapters } from "../analysis/adapter-names.ts";
import { UsageError } from "../errors.ts";
import { type Trainer, writeOnnxAdapter } from "../index.ts";
import { count, decayRate, type NumberRange, positive } from "../numbers.ts";
import type { Model } from "../onnx/model.ts";
import { number, numberIn, pattern } from "./options.ts";
import type { Terminal } from "./terminal.ts";

/** The flags that say how adapters are trained. */
export interface AdapterFlags {
  /** True for the flag without settings. */
  readonly lora?: LoraOptions | true;
  readonly adapterFrom?: string;
}

const form =
  "rank=8,alpha=16,dropout=0.05,include=RE,exclude=RE,scaling=lora|rslora,dora=true, or ia3=true,feedforward=RE";
const numbers: Readonly<Record<string, NumberRange>> = { rank: count, alpha: positive, dropout: decayRate };

/** Declares the flags that say how adapters are trained. */
export function addAdapterFlags(command: Command): void {
  command
    .option(
      "--lora [settings]",
      `train LoRA adapters beside the layers, whose own weights stay frozen; a model that is written has both folded together: ${form} (default: rank 8, alpha 8, all linear layers but the last)`,
      settings,
    )
    .option(
      "--adapter-from <file>",
      "begin with the numbers of this adapter, from train --adapter or from PEFT",
    );
}

/** Declares `--adapter`, for the file that a run writes. */
export function addAdapterOutput(command: Command): void {
  command.option(
    "--adapter <file>",
    "also write the trained adapter alone, in PEFT's format: a .safetensors file with adapter_config.json beside it, or a folder for both; x.onnx_adapter: in ONNX Runtime's, with x.inputs.onnx, the graph that takes it",
  );
}

/** Reads the settings of `--lora`; a pattern may have commas in it. */
function settings(text: string): LoraOptions {
  const read = new Map<string, unknown>();
  for (const part of text.split(/,(?=\s*[a-z]+\d*=)/)) {
    const at = part.indexOf("=");
    const [key, value] = [part.slice(0, at).trim(), part.slice(at + 1)];
    if (read.has(key)) throw new InvalidArgumentError(`It gives ${key} twice.`);
    read.set(key, settingOf(key, value, part));
  }
  return Object.fromEntries(read);
}

function settingOf(key: string, value: string, part: string): unknown {
  const range = Object.hasOwn(numbers, key) ? numbers[key] : undefined;
  if (range) return numberIn(range)(value);
  if (key === "include" || key === "exclude" || key === "feedforward") return pattern(value);
  if (key === "scaling") {
    if (value === "lora" || value === "rslora") return value;
    throw new InvalidArgumentError("Give scaling=lora or scaling=rslora.");
  }
  if (key === "dora" || key === "ia3") {
    if (value === "true" || value === "false") return value === "true";
    throw new InvalidArgumentError(`Give ${key}=true or ${key}=false.`);
  }
  throw new InvalidArgumentError(`"${part}" is no setting of adapters; give some of ${form}.`);
}

/**
 * The library's options for these flags. An adapter to go on from decides what the flags leave out.
 * @param head - whether the last layer is a fresh one, which is trained in full
 */
export async function loraOf(
  { lora, adapterFrom }: AdapterFlags,
  head: boolean,
): Promise<{ readonly lora?: LoraOptions; readonly from?: Adapter }> {
  const given = lora === true ? {} : lora;
  if (adapterFrom === undefined) return given ? { lora: { ...given, ...(head && { trainHead: true }) } } : {};
  const from = await readAdapter(adapterFrom);
  const [own, asked] = [kindOf(from), kindOf({ dora: from.dora, ia3: from.ia3, ...given })];
  if (own !== asked) throw otherKind(own, asked);
  const trainHead = head || from.saved.size > 0;
  return { from, lora: { ...optionsOf(from), ...given, ...(trainHead && { trainHead: true }) } };
}

/** Gives a new run the numbers of an adapter. @throws UsageError if the run has no such adapters */
export function beginWith(trainer: Trainer, from: Adapter | undefined): void {
  if (from) trainer.takeOver({ parameters: adapterNumbers(trainer.model, from) });
}

/** @throws UsageError for `--adapter` where nothing has adapters, and for an `.onnx_adapter` that the model cannot take */
export function checkHasAdapters(model: Model, flags: AdapterFlags & { readonly adapter?: string }): void {
  if (flags.adapter !== undefined && isOnnxAdapter(flags.adapter)) checkTakesInputs(model);
  if (flags.adapter === undefined || flags.lora || flags.adapterFrom !== undefined || hasAdapters(model))
    return;
  throw new UsageError("--adapter belongs to --lora, and to models with adapters: this run has none");
}

/** Writes the adapter of a model in which it stands beside the frozen weights. */
export async function writeAdapterOf(model: Model, path: string, terminal: Terminal): Promise<void> {
  const files = isOnnxAdapter(path)
    ? await writeOnnxAdapter(model, path, terminal.write)
    : await writeAdapter(adapterOf(model), path, terminal.write);
  terminal.note(`adapter: ${files.join(", ")}`);
}

/** Writes the adapter of a run. */
export async function writeTrainedAdapter(trainer: Trainer, path: string, terminal: Terminal): Promise<void> {
  const model = trainer.export({ merge: false });
  const adapter = adapterOf(model);
  await writeAdapterOf(model, path, terminal);
  const inFile = isOnnxAdapter(path) ? { ...adapter, saved: new Map() } : adapter;
  const known = new Set(adapterNumbers(model, inFile).keys());
  const others = trainer.step.ports.parameters.map(({ name }) => name).filter((name) => !known.has(name));
  if (others.length === 0) return;
  terminal.note(
    `trained too, but not in the adapter's file: ${others.join(", ")}; the written model has them`,
  );
}

/** Reads an adapter with the factor by which it acts: FILE or FILE:0.5. */
export function weightedFile(text: string): { readonly path: string; readonly weight: number } {
  const found = /^(.+):([^:\\/]+)$/.exec(text);
  const [, path = "", factor = ""] = found ?? [];
  if (!found || Number.isNaN(Number(factor))) return { path: text, weight: 1 };
  return { path, weight: number(factor) };
}

/** The adapters that `--adapter` names. */
export const adaptersOf = (files: readonly ReturnType<typeof weightedFile>[]): Promise<WeightedAdapter[]> =>
  Promise.all(files.map(async ({ path, weight }) => ({ adapter: await readAdapter(path), weight })));
