import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join, parse } from "node:path";
import { SorthError, UsageError } from "../errors.ts";
import { readModel } from "../index.ts";
import { parsedJson } from "../json.ts";
import {
  runSeeds,
  type SeedFigures,
  type SeedsResult,
  seedFigures,
  seedsResult,
} from "../measure/train-seeds.ts";
import { textIn } from "../onnx/read-file.ts";
import { writeFileSafely } from "../onnx/write-file.ts";
import { modelFacts } from "../programs/model-facts.ts";
import { formatTable } from "../report/table.ts";
import { visibleLines } from "../visible.ts";
import { withFlags } from "./config/flags.ts";
import { checkNoRun, checkOutput, outputBeside, runFolderOf } from "./output.ts";
import { argumentsHere, type RunSettings, readRunSettings, writeRunSettings } from "./run-settings.ts";
import type { Terminal } from "./terminal.ts";
import { callOf, declare, parsedCall, type TrainFlags } from "./train-call.ts";
import { type RunContext, type TrainedRun, trainOne } from "./train-run.ts";
import { quoted, removeCheckpoints } from "./watch-run.ts";

/** The file in the folder of several runs that holds their figures. */
const seedsName = "seeds.json";

/** What is kept of a run with one of the seeds. */
interface SeedRun extends SeedFigures {
  readonly output: string;
  readonly checkpoint: string;
  /** The step whose weights the model has. */
  readonly exportedStep: number;
}

/** Figures of all runs, as `seeds.json` and `--json` have them. */
export type SeedsSummary = SeedsResult<SeedRun>;

/** Several runs that belong together. */
interface SeveralRuns {
  readonly seeds: readonly number[];
  /** The words with which they were started, with `--seeds`. */
  readonly words: readonly string[];
  /** The folder with a folder for each. */
  readonly folder: string;
  /** Words of a resumption that each run gets too; undefined for new runs. */
  readonly again: readonly string[] | undefined;
}

/** The runs that `--seeds` asks for, now or when the resumed folder was begun; undefined for a single run. */
export async function severalRuns(
  typed: readonly string[],
  { seeds, resume, checkpoint, output }: TrainFlags,
): Promise<SeveralRuns | undefined> {
  if (resume === undefined) {
    if (seeds === undefined) return undefined;
    const path = parsedCall(typed).command.args[0] ?? "";
    const folder = checkpoint ?? runFolderOf(output ?? outputBeside(path, "trained"));
    return { seeds, words: typed, folder, again: undefined };
  }
  if (seeds !== undefined) throw new UsageError("--seeds begins new runs; leave it out with --resume");
  const settings = await readRunSettings(resume);
  if (!settings?.arguments.some((word) => /^--seeds(=|$)/.test(word))) return undefined;
  const words = argumentsHere(settings, declare);
  const before = parsedCall(words).command.opts<TrainFlags>().seeds ?? [];
  for (const [name, given] of Object.entries({ output, checkpoint })) {
    if (given !== undefined) throw new UsageError(`resumed runs keep their places; leave out --${name}`);
  }
  return {
    ...{ seeds: before, words, folder: resume },
    again: withFlags(declare, typed, { resume: undefined }),
  };
}

/** Trains a model once for each seed. Runs that have ended are not repeated. */
export async function trainSeeds(
  several: SeveralRuns,
  { streams, signal }: RunContext,
  terminal: Terminal,
): Promise<SeedsSummary> {
  const { seeds, folder, again } = several;
  const alone = withFlags(declare, several.words, { seeds: undefined });
  if (again === undefined) await checkNew(several, alone, terminal.write);
  const goesOn = again?.some((word) => /^--(epochs|max-steps|no-early-stop)(=|$)/.test(word)) ?? false;
  const ended = again === undefined || goesOn ? [] : await endedRuns(folder);
  const settings: RunSettings = {
    ...{ version: 1, folder: process.cwd(), arguments: several.words, artifact: false },
  };
  const resume = ["--resume", folder];
  return runSeeds<SeedRun>(seeds, async (seed, before) => {
    const known = ended.find((run) => run.seed === seed);
    if (known) return known;
    if (signal?.aborted) {
      throw new SorthError(
        `stopped before seed ${seed}; to go on: sorth-onnx train ${resume.map(quoted).join(" ")}`,
      );
    }
    terminal.note(`seed ${seed}, run ${before.length + 1} of ${seeds.length}`);
    const began = async () => {
      if (again !== undefined || before.length > 0) return;
      await removeFormer(folder);
      await writeRunSettings(folder, settings, declare);
    };
    const words = wordsOf(seed, { ...several, words: alone });
    const run = seedRun(seed, await trainOne(words, { streams, signal, again: resume, began }));
    const text = `${visibleLines(JSON.stringify(seedsResult(seeds, [...before, run]), undefined, 2))}\n`;
    await writeFileSafely(join(folder, seedsName), text, { force: true });
    return run;
  });
}

/** @throws UsageError for runs that cannot begin, before the first one does */
async function checkNew(
  { seeds, folder }: SeveralRuns,
  words: readonly string[],
  write: { readonly force: boolean },
): Promise<void> {
  const { command, trainingFlags } = parsedCall(words);
  const { path, flags } = await callOf(command, command.args[0], command.opts<TrainFlags>(), trainingFlags);
  if (modelFacts(await readModel(path)).artifact !== undefined) {
    throw new UsageError(
      "--seeds belongs to models: a training_model.onnx goes on with one run, which has its own state",
    );
  }
  await checkNoRun(folder, write);
  for (const seed of seeds) await checkOutput(outputOf(seed, path, flags), write);
}

/** With --force the folder may hold other runs with these seeds, which a resumption must not go on with. */
async function removeFormer(folder: string): Promise<void> {
  await rm(join(folder, seedsName), { force: true });
  const names = await readdir(folder);
  for (const name of names) if (/^seed-\d+$/.test(name)) await removeCheckpoints(join(folder, name));
}

/** `trained.onnx` → `trained.seed-1.onnx` */
function outputOf(seed: number, path: string, { output }: TrainFlags): string {
  const { dir, name, ext } = parse(output ?? outputBeside(path, "trained"));
  return join(dir, `${name}.seed-${seed}${ext}`);
}

/** `a.safetensors` → `a.seed-1.safetensors`, a folder → a folder in it. */
const adapterPathOf = (seed: number, path: string): string =>
  /\.safetensors$/i.test(path)
    ? path.replace(/(\.safetensors)$/i, `.seed-${seed}$1`)
    : join(path, `seed-${seed}`);

/** The words after `sorth-onnx train` for the run with a seed: of its resumption if it has a checkpoint, else of its beginning. */
function wordsOf(seed: number, { words, folder, again }: SeveralRuns): string[] {
  const own = join(folder, `seed-${seed}`);
  if (again && existsSync(join(own, "last.safetensors"))) return ["--resume", own, ...again];
  const { command } = parsedCall(words);
  const flags = command.opts<TrainFlags>();
  const { tensorboard, adapter } = flags;
  const begun = withFlags(declare, words, {
    ...{ seed: [`${seed}`], checkpoint: [own], output: [outputOf(seed, command.args[0] ?? "", flags)] },
    ...(adapter !== undefined && { adapter: [adapterPathOf(seed, adapter)] }),
    ...(tensorboard !== undefined && { tensorboard: [join(tensorboard, `seed-${seed}`)] }),
  });
  // A run that was cut off before its first checkpoint begins again.
  const isCutOff = again !== undefined && existsSync(own);
  return [...begun, ...(again ?? []), ...(isCutOff && !begun.includes("--force") ? ["--force"] : [])];
}

async function endedRuns(folder: string): Promise<readonly SeedRun[]> {
  const text = await textIn(join(folder, seedsName)).catch(() => "");
  return (parsedJson(text) as SeedsSummary | null | undefined)?.runs ?? [];
}

function seedRun(seed: number, run: TrainedRun): SeedRun {
  const { output, checkpoint, end = { step: 0, epoch: 0, loss: Number.NaN }, exportedStep } = run;
  return { ...seedFigures(seed, end, run), output, checkpoint, exportedStep };
}

/** The summary as a table: a row for each figure. */
export function seedsText({ seeds, runs, summary }: SeedsSummary, paint: (text: string) => string): string {
  const short = (value: number | undefined) => (value === undefined ? "–" : `${+value.toPrecision(4)}`);
  const rows = Object.entries(summary).map(([name, { mean, interval, standardDeviation }]) => [
    ...[name.replace(".", " "), short(mean)],
    ...[interval ? interval.map(short).join(" to ") : "–", short(standardDeviation)],
  ]);
  const headings = ["figure", "mean", "95 % interval of the mean", "standard deviation"];
  const columns = headings.map((heading, i) => ({ heading, align: i === 0 ? "left" : "right" }) as const);
  const list = runs.map(({ seed }) => seed).join(", ");
  return `${formatTable(columns, rows, paint)}\n${runs.length} of ${seeds.length} runs, seeds ${list}`;
}
