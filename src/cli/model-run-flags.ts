import { type Command, Option } from "commander";
import type { Dataset } from "../data/dataset.ts";
import { dataKinds } from "../data/load-node.ts";
import type { Normalization } from "../data/normalize.ts";
import type { SplitData } from "../data/split-data.ts";
import { UsageError } from "../errors.ts";
import type { AnyObjective } from "../losses/terms.ts";
import type { BackendName } from "../passes/backends/names.ts";
import type { ModelRunOptions } from "../runtime/model-run.ts";
import { addBucketsFlag, type BucketsFlag, bucketsFor } from "./bucket-flag.ts";
import { addDataFlags, type DataFlags } from "./data-flags.ts";
import { addObjectiveFlags, type ObjectiveFlags, objectiveOf } from "./loss-flags.ts";
import { given, positiveInteger } from "./options.ts";
import type { Terminal } from "./terminal.ts";

/** The parts of a source of data. */
const parts = ["test", "validation", "train"] as const;

/** Flags of the commands that run a model over data. */
export interface ModelRunFlags extends ObjectiveFlags, DataFlags {
  readonly data?: string;
  readonly part?: (typeof parts)[number];
  readonly batch?: number;
  readonly backend?: BackendName;
  readonly threads?: number;
  readonly allowFallback?: true;
  readonly buckets?: BucketsFlag;
}

/** Declares them. @param meaning - meaning of `--objective` in this command */
export function addModelRunFlags(command: Command, meaning: string): void {
  command
    .option("--data <source>", `${dataKinds}; docs/data.md describes each`)
    .addOption(
      new Option(
        "--part <name>",
        "part of the data (default: test, else validation where there is one, else all)",
      ).choices(parts),
    )
    .option("--batch <size>", "samples per run, if the model leaves it open (default: 64)", positiveInteger)
    .addOption(
      new Option("--backend <name>", "where to run the model (default: cpu)").choices([
        "cpu",
        "cuda",
        "webgpu",
      ]),
    )
    .option("--threads <count>", "threads within an operator", positiveInteger)
    .option("--allow-fallback", "let a GPU backend run on the CPU what its device cannot run");
  addObjectiveFlags(command, meaning);
  addDataFlags(command);
  addBucketsFlag(command);
}

/**
 * The library's options for these flags.
 * @param normalize - how the data that were read are scaled
 * @param part - the samples to run the model on
 */
export function modelRunOf(
  flags: ModelRunFlags,
  normalize: Normalization | undefined,
  terminal: Terminal,
  part: Dataset,
): ModelRunOptions & { readonly objective?: AnyObjective } {
  const { batch, backend, threads, allowFallback } = flags;
  const buckets = flags.buckets && bucketsFor(flags.buckets, part);
  return {
    ...objectiveOf(flags),
    ...given({ normalize, batch, backend, threads, allowFallback, buckets, signal: terminal.interrupted() }),
    onMessage: (message) => terminal.note(message),
  };
}

/** The source of data. @throws UsageError if none was given */
export function dataSourceOf({ data }: ModelRunFlags): string {
  if (data !== undefined) return data;
  throw new UsageError(`required option '--data <source>' not specified: ${dataKinds}`);
}

/** The part of the data that the flags ask for. @throws UsageError if there is no such part */
export function partOf({ train, validation, test }: SplitData, { part, data }: ModelRunFlags): Dataset {
  if (part === undefined) return test ?? validation ?? train;
  const found = { train, validation, test }[part];
  if (found) return found;
  throw new UsageError(`${data} has no part "${part}": leave --part out, or give train`);
}
