import { UsageError } from "../errors.ts";
import { objectiveNamed } from "../objectives/table.ts";
import { adamw } from "../optimizers/adamw.ts";
import type { Optimizer } from "../optimizers/optimizer.ts";
import { parseSchedule, type Schedule } from "../optimizers/schedules.ts";
import { optimizerNamed } from "../optimizers/table.ts";
import type { PenaltyPlan } from "../penalties/plan.ts";
import { penaltyNamed } from "../penalties/table.ts";
import type { LossOptions, TrainingFormOptions } from "../training/options.ts";
import type { Backend, SessionOptions } from "./step-session.ts";

/** How a model is trained. */
export interface TrainerOptions extends LossOptions, TrainingFormOptions, SessionOptions {
  /** Where to train: `cpu` (default), `cuda` or `webgpu` in node, `wasm` (default) or `webgpu` in a browser. Not kept in checkpoints. */
  readonly backend?: string;
  /**
   * Steps done in one run of ONNX Runtime, as a Loop: up to twice as fast for small networks. `auto` (default): as many as take about
   * 50 ms on CPU, CUDA and wasm, 1 on WebGPU. The numbers are the same to the bit. Not kept in checkpoints.
   */
  readonly stepsPerRun?: number | "auto";
  /** Default: AdamW with torch's defaults. */
  readonly optimizer?: Optimizer;
  /** Default 1e-3. */
  readonly learningRate?: number;
  /** Factor of the learning rate over the run, as text (`cosine:warmup=100`) or a function; default constant. */
  readonly schedule?: string | Schedule;
  /** Weight w of the penalty in loss + w·R; default: that of the first penalty that has one above 0. */
  readonly penaltyWeight?: number;
  /** Factor of the penalty weight over the run, for all penalties; single ones have schedules in their plans. */
  readonly penaltySchedule?: string | Schedule;
  /** Seed of the data's order, of dropout masks and of what penalties draw while training; default 0. */
  readonly seed?: number;
}

/** @throws UsageError for a name that is none of them */
export function backendNamed(name: string | undefined, backends: readonly [Backend, ...Backend[]]): Backend {
  const found = name === undefined ? backends[0] : backends.find((backend) => backend.name === name);
  if (found) return found;
  const names = backends.map((backend) => backend.name).join(", ");
  throw new UsageError(`there is no backend "${name}" here; give one of ${names}`);
}

/** A schedule given as text or as a function. */
export function scheduleOf(schedule: string | Schedule | undefined): Schedule {
  return typeof schedule === "function" ? schedule : parseSchedule(schedule ?? "constant");
}

/** What a checkpoint keeps of the options: everything that has a name. */
interface StoredOptions {
  readonly numbers: Record<string, unknown>;
  readonly objective?: string;
  readonly optimizer: { readonly name: string; readonly options: Readonly<Record<string, number | boolean>> };
  readonly penalties: readonly {
    readonly name: string;
    readonly options: Readonly<Record<string, number | string | boolean>>;
    readonly weight?: number;
    readonly include?: string;
    readonly exclude?: string;
    readonly schedule?: string;
  }[];
  readonly patterns: Record<string, string>;
  /** Options that were functions: a run goes on with them only when they are given again. */
  readonly functions?: readonly ("schedule" | "penaltySchedule" | "penalties")[];
}

const plain = [
  "batch",
  "dims",
  "loss",
  "output",
  "batchNorm",
  "runningVariance",
  "recompute",
  "threads",
  "learningRate",
  "penaltyWeight",
  "seed",
  "schedule",
  "penaltySchedule",
] as const;
const patterns = ["trainable", "alsoTrain", "freeze", "tie", "untie"] as const;

/** The options as JSON text. Functions have no text: a run with one is resumed by giving it again. */
export function optionsToText(options: TrainerOptions): string {
  const timed = (options.penalties ?? []).some(({ schedule }) => typeof schedule === "function");
  const stored: StoredOptions = {
    numbers: Object.fromEntries(
      plain.flatMap((key) =>
        options[key] === undefined || typeof options[key] === "function" ? [] : [[key, options[key]]],
      ),
    ),
    ...(options.objective ? { objective: options.objective.name } : {}),
    optimizer: { name: (options.optimizer ?? adamw()).name, options: (options.optimizer ?? adamw()).options },
    penalties: (options.penalties ?? []).map(({ penalty, weight, include, exclude, schedule }) => ({
      name: penalty.definition.name,
      options: penalty.options,
      ...(weight === undefined ? {} : { weight }),
      ...(include ? { include: include.source } : {}),
      ...(exclude ? { exclude: exclude.source } : {}),
      ...(typeof schedule === "string" ? { schedule } : {}),
    })),
    patterns: Object.fromEntries(
      patterns.flatMap((key) => (options[key] ? [[key, options[key].source]] : [])),
    ),
    functions: [
      ...(["schedule", "penaltySchedule"] as const).filter((key) => typeof options[key] === "function"),
      ...(timed ? (["penalties"] as const) : []),
    ],
  };
  return JSON.stringify(stored);
}

/**
 * The options of a checkpoint.
 * @param overrides - what the text cannot hold, or what is to be changed
 * @throws UsageError for an objective, optimizer, penalty or schedule that the text only names, and that is not overridden
 */
export function optionsFromText(text: string, overrides: Partial<TrainerOptions> = {}): TrainerOptions {
  let stored: StoredOptions;
  try {
    stored = JSON.parse(text) as StoredOptions;
  } catch {
    throw new UsageError("the checkpoint's options are damaged");
  }
  const missing = stored.functions?.find((key) => overrides[key] === undefined);
  if (missing === "penalties") {
    throw new UsageError("the run's penalties have a schedule that is a function; give the penalties again");
  }
  if (missing) throw new UsageError(`the run's ${missing} is a function; give it again`);
  return {
    ...stored.numbers,
    ...(stored.objective === undefined ? {} : { objective: objectiveNamed(stored.objective) }),
    optimizer: optimizerNamed(stored.optimizer.name, stored.optimizer.options),
    ...(overrides.penalties ? {} : { penalties: stored.penalties.map(storedPlan) }),
    ...Object.fromEntries(Object.entries(stored.patterns).map(([key, source]) => [key, new RegExp(source)])),
    ...overrides,
  };
}

function storedPlan({
  name,
  options,
  weight,
  include,
  exclude,
  schedule,
}: StoredOptions["penalties"][number]): PenaltyPlan {
  return {
    penalty: penaltyNamed(name, options),
    ...(weight === undefined ? {} : { weight }),
    ...(include === undefined ? {} : { include: new RegExp(include) }),
    ...(exclude === undefined ? {} : { exclude: new RegExp(exclude) }),
    ...(schedule === undefined ? {} : { schedule }),
  };
}
