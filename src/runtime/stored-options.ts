import type { LoraOptions } from "../adapters/adapter.ts";
import { mayTakeForever } from "../block/bounded-pattern.ts";
import { FileError, UsageError } from "../errors.ts";
import { given } from "../given.ts";
import { parsedJson } from "../json.ts";
import { isStorable, objectiveFromStored, type StoredObjective, storedObjective } from "../losses/stored.ts";
import { objectiveNamed } from "../losses/table.ts";
import type { AnyObjective } from "../losses/terms.ts";
import { isMadeHere } from "../made-here.ts";
import { adamw } from "../optimizers/adamw.ts";
import { patternOf } from "../optimizers/options.ts";
import { optimizerFromStored, type StoredOptimizer, storedOptimizer } from "../optimizers/stored.ts";
import type { GradientTransformation } from "../optimizers/transformation.ts";
import { allPenaltyDefinitions, anyPenaltyNamed } from "../penalties/adapters/table.ts";
import type { PenaltyOptions } from "../penalties/penalty.ts";
import { type PenaltyPlan, planOf } from "../penalties/plan.ts";
import type { ParameterGroup } from "../programs/options.ts";
import { regularExpression } from "../regular-expression.ts";
import { checksumOf } from "./stored-teacher.ts";
import type { TrainerOptions } from "./trainer-options.ts";

/**
 * Version of the text that {@link optionsToText} writes. Version 1 had no `version`, objectives without options and patterns
 * without flags; version 2 had no optimizers that are chains of transformations.
 */
const version = 3;

/** Options that JSON can hold unchanged; functions among them are left out. */
const plain = [
  ...(["batch", "dims", "loss", "output", "siamese", "batchNorm", "runningVariance"] as const),
  ...(["recompute", "checkpointEvery", "precision", "straightThrough"] as const),
  ...(["threads", "backend", "allowFallback", "stepsPerRun", "buckets"] as const),
  ...(["learningRate", "penaltyWeight", "seed", "schedule", "penaltySchedule", "normalize"] as const),
  ...(["mixup", "noDecay", "ema", "swa", "teacherOutput", "applyPenalties", "penaltyShare"] as const),
] as const;
const patterns = ["trainable", "alsoTrain", "freeze", "tie", "untie", "detach"] as const;

type None<T extends never> = T;
/**
 * Options that are neither stored nor left out on purpose. There must be none: a new option fails the type check until it is
 * listed.
 */
export type Forgotten = None<
  Exclude<
    keyof TrainerOptions,
    | (typeof plain | typeof patterns)[number]
    | "objective"
    | "optimizer"
    | "penalties"
    | "groups"
    | "metrics"
    | "lora"
    | "teacher"
    | "onMessage"
    | "onMemory"
  >
>;

/** A regular expression; version 1 stored its source only. */
type StoredPattern = string | { readonly source: string; readonly flags: string };

interface StoredPlan {
  readonly name: string;
  readonly options: PenaltyOptions;
  readonly weight?: number;
  readonly include?: StoredPattern;
  readonly exclude?: StoredPattern;
  readonly schedule?: string;
  /** The penalty had a schedule that was a function. */
  readonly timed?: true;
  /** The penalty is the user's own. */
  readonly own?: true;
}

type LoraPattern = "include" | "exclude" | "feedforward";
type StoredLora = Omit<LoraOptions, LoraPattern> & Partial<Record<LoraPattern, StoredPattern>>;
type StoredGroup = Omit<ParameterGroup, "match"> & { readonly match: StoredPattern };

/** What a checkpoint stores of the options: everything that has a name. */
interface StoredOptions {
  readonly version?: number;
  readonly numbers: Readonly<Record<string, unknown>>;
  readonly objective?: string | StoredObjective;
  readonly optimizer: StoredOptimizer;
  readonly penalties: readonly StoredPlan[];
  readonly groups?: readonly StoredGroup[];
  readonly lora?: StoredLora;
  /** The checksum of the teacher, which the run's folder holds as a model. */
  readonly teacher?: string;
  readonly patterns: Readonly<Record<string, StoredPattern>>;
  /** Names of metrics, those of the user's own among them. */
  readonly metrics?: readonly string[];
  /** Options that the caller has to give again: functions, and the user's own objectives and optimizers. */
  readonly functions?: readonly string[];
}

/** Writes the options as JSON. The user's own objects have no text: the caller gives them again to resume the run. */
export function optionsToText(options: TrainerOptions): string {
  const { objective, optimizer = adamw(), penalties = [], groups, metrics, lora, teacher } = options;
  const stored: StoredOptions = {
    version,
    numbers: Object.fromEntries(
      plain.flatMap((key) =>
        options[key] === undefined || typeof options[key] === "function" ? [] : [[key, options[key]]],
      ),
    ),
    ...(objective && { objective: storedObjective(objective) }),
    optimizer: storedOptimizer(optimizer),
    penalties: penalties.map((given) => planToStore(planOf(given))),
    ...(groups && { groups: groups.map((group) => ({ ...group, match: patternToStore(group.match) })) }),
    ...(lora && { lora: withPatterns(lora, patternToStore) }),
    ...(teacher && { teacher: checksumOf(teacher) }),
    patterns: Object.fromEntries(
      patterns.flatMap((key) => (options[key] ? [[key, patternToStore(options[key])]] : [])),
    ),
    ...(metrics && { metrics: metrics.map((one) => (typeof one === "string" ? one : one.name)) }),
    functions: [
      ...(["schedule", "penaltySchedule"] as const).filter((key) => typeof options[key] === "function"),
      ...(objective && !isStorable(objective) ? ["objective"] : []),
      ...(isMadeHere(optimizer) ? [] : ["optimizer"]),
      ...(metrics?.some((one) => typeof one !== "string") ? ["metrics"] : []),
    ],
  };
  return JSON.stringify(stored);
}

const patternToStore = ({ source, flags }: RegExp): StoredPattern => ({ source, flags });

/** The options of adapters with their patterns in another form. */
const withPatterns = <From, To>(
  {
    include,
    exclude,
    feedforward,
    ...others
  }: Omit<LoraOptions, LoraPattern> & Partial<Record<LoraPattern, From>>,
  convert: (pattern: From) => To,
) => ({
  ...others,
  ...(include !== undefined && { include: convert(include) }),
  ...(exclude !== undefined && { exclude: convert(exclude) }),
  ...(feedforward !== undefined && { feedforward: convert(feedforward) }),
});

function planToStore({ penalty, weight, include, exclude, schedule }: PenaltyPlan): StoredPlan {
  return {
    name: penalty.definition.name,
    options: penalty.options,
    // Defaults may change between versions; a run keeps the ones it began with.
    weight: weight ?? penalty.definition.weight ?? 1,
    ...(include && { include: patternToStore(include) }),
    ...(exclude && { exclude: patternToStore(exclude) }),
    ...(typeof schedule === "string" && { schedule }),
    ...(typeof schedule === "function" && { timed: true as const }),
    ...(!allPenaltyDefinitions.includes(penalty.definition) && { own: true as const }),
  };
}

/**
 * Reads the options of a checkpoint.
 * @param overrides - options that the text cannot hold, or that are to be changed
 * @throws UsageError for an objective, optimizer, penalty or schedule that only the caller can give and that `overrides`
 * lacks; SorthError for a text that cannot be read
 */
export function optionsFromText(text: string, overrides: Partial<TrainerOptions> = {}): TrainerOptions {
  const stored = parsed(text);
  checkGivenAgain(stored, overrides);
  const { objective, optimizer, penalties, groups, metrics, lora } = stored;
  return {
    ...stored.numbers,
    ...(objective !== undefined &&
      !overrides.objective && { objective: objectiveFrom(objective, overrides) }),
    ...(!overrides.optimizer && { optimizer: optimizerFrom(optimizer) }),
    ...(!overrides.penalties && { penalties: penalties.map((plan) => planFrom(plan, stored.version ?? 1)) }),
    ...(groups &&
      !overrides.groups && {
        groups: groups.map((group) => ({ ...group, match: patternFrom(group.match) })),
      }),
    ...(metrics && { metrics }),
    ...(lora && !overrides.lora && { lora: withPatterns(lora, patternFrom) }),
    ...Object.fromEntries(
      Object.entries(stored.patterns).flatMap(([key, kept]) =>
        key in overrides ? [] : [[key, patternFrom(kept)]],
      ),
    ),
    ...overrides,
  };
}

/** The options that an export needs. It needs no penalty, loss or optimizer from the caller. */
export function exportOptionsFromText(text: string): {
  readonly optimizer: { readonly name: string };
  readonly patterns: Pick<TrainerOptions, (typeof patterns)[number]>;
  readonly adapted: Pick<TrainerOptions, "lora" | "batch" | "dims" | "seed">;
} {
  const { optimizer, patterns: kept, lora, numbers } = parsed(text);
  const { batch, dims, seed } = numbers as Pick<TrainerOptions, "batch" | "dims" | "seed">;
  return {
    optimizer,
    adapted: {
      ...(lora && { lora: withPatterns(lora, patternFrom) }),
      ...given({ batch, dims, seed }),
    },
    patterns: Object.fromEntries(Object.entries(kept).map(([key, stored]) => [key, patternFrom(stored)])),
  };
}

/** The checksum of a run's teacher; undefined for a run without one. */
export const teacherIn = (text: string): string | undefined => parsed(text).teacher;

function parsed(text: string): StoredOptions {
  const stored = parsedJson(text) as Partial<StoredOptions> | null;
  const { numbers, optimizer, penalties, patterns: kept } = stored ?? {};
  if (!stored || !numbers || !optimizer?.name || !Array.isArray(penalties) || !kept) {
    throw new FileError("the checkpoint's options are damaged");
  }
  if ((stored.version ?? 1) > version) {
    throw new FileError(
      "the checkpoint was written by a newer version of sorth-onnx; resume with that version",
    );
  }
  return stored as StoredOptions;
}

/** @throws UsageError that names the options which the caller has to give again */
function checkGivenAgain(
  { functions = [], penalties, ...stored }: StoredOptions,
  overrides: Partial<TrainerOptions>,
): void {
  const missing = functions.find((key) => overrides[key as keyof TrainerOptions] === undefined);
  const { objective, optimizer } = stored;
  if (missing === "optimizer" || missing === "objective") {
    const kept = missing === "optimizer" ? optimizer : objective;
    const name = typeof kept === "string" ? kept : kept?.name;
    throw new UsageError(
      `the run's ${missing} "${name}" is your own: give it again, Trainer.resume(folder, { ${missing} })`,
    );
  }
  if (missing === "metrics") {
    throw new UsageError(
      `some of the run's metrics (${stored.metrics?.join(", ")}) are your own: give all of them again, Trainer.resume(folder, { metrics })`,
    );
  }
  // Version 1 listed "penalties" here if one of them had a schedule of its own.
  if (missing !== undefined && missing !== "penalties") {
    throw new UsageError(
      `the run's ${missing} is a function: give it again, Trainer.resume(folder, { ${missing} })`,
    );
  }
  if (overrides.penalties) return;
  const own = penalties.find((plan) => plan.own);
  if (own) {
    throw new UsageError(
      `the run's penalty "${own.name}" is your own: give all penalties again, Trainer.resume(folder, { penalties })`,
    );
  }
  if (missing === "penalties" || penalties.some(({ timed }) => timed)) {
    throw new UsageError(
      "the run's penalties have a schedule that is a function: give all penalties again, Trainer.resume(folder, { penalties })",
    );
  }
}

function objectiveFrom(
  kept: NonNullable<StoredOptions["objective"]>,
  { onMessage }: Partial<TrainerOptions>,
): AnyObjective {
  if (typeof kept !== "string") return objectiveFromStored(kept);
  const objective = objectiveNamed(kept);
  if (Object.keys(objective.options).length > 0) {
    onMessage?.(
      `the checkpoint is of an older version, which stored no options of the objective ${kept}: the run uses their defaults`,
    );
  }
  return objective;
}

function patternFrom(kept: StoredPattern): RegExp {
  const { source, flags } = typeof kept === "string" ? { source: kept, flags: "" } : kept;
  return bounded(regularExpression(source, flags), "give the options with patterns again");
}

/** @throws UsageError for a pattern that may take for ever */
function bounded(pattern: RegExp, advice: string): RegExp {
  if (!mayTakeForever(pattern)) return pattern;
  throw new UsageError(
    `the checkpoint has the pattern ${pattern.source}, which may take for ever: ${advice}, Trainer.resume(folder, { … })`,
  );
}

/** Some options of optimizers are patterns, as text. @throws UsageError for one that may take for ever */
function checkPatterns({ options, parts, inner }: StoredOptimizer): void {
  for (const text of Object.values(options ?? {}))
    if (typeof text === "string") bounded(patternOf(text), "give the optimizer again");
  for (const part of inner ? [inner] : (parts ?? [])) checkPatterns(part);
}

function optimizerFrom(stored: StoredOptimizer): GradientTransformation {
  checkPatterns(stored);
  return optimizerFromStored(stored);
}

function planFrom(plan: StoredPlan, storedVersion: number): PenaltyPlan {
  const { name, options, include, exclude, schedule } = plan;
  // Version 1 left out default weights; the default of som was 1.
  const weight = plan.weight ?? (storedVersion === 1 && name === "som" ? 1 : undefined);
  return {
    penalty: anyPenaltyNamed(name, options),
    ...(weight !== undefined && { weight }),
    ...(include !== undefined && { include: patternFrom(include) }),
    ...(exclude !== undefined && { exclude: patternFrom(exclude) }),
    ...(schedule !== undefined && { schedule }),
  };
}
