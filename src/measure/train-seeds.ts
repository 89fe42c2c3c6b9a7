import { checkDataset } from "../data/check-dataset.ts";
import type { Dataset } from "../data/dataset.ts";
import { UsageError } from "../errors.ts";
import { given } from "../given.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { checkNumber, countFromZero } from "../numbers.ts";
import type { Model } from "../onnx/model.ts";
import { fitNames, trainerOptionNames } from "../runtime/check-trainer-options.ts";
import type { EvaluationResult, TrainingEvent } from "../runtime/events.ts";
import type { FitOptions } from "../runtime/fit-plan.ts";
import { Trainer } from "../runtime/trainer.ts";
import type { TrainerOptions } from "../runtime/trainer-options.ts";
import type { TrainerRuntime } from "../runtime/trainer-runtime.ts";
import { type MeanInterval, meanInterval } from "./mean-interval.ts";

/** Options of `trainSeeds`: those of a trainer and of its fit, without what belongs to one run alone. */
export interface TrainSeedsOptions
  extends Omit<TrainerOptions, "seed">,
    Omit<FitOptions, "checkpoint" | "keep" | "otherData"> {
  /** One run for each of these numbers. */
  readonly seeds: readonly number[];
  /** Each trained model is evaluated on it. */
  readonly test?: Dataset;
  /** Called with each event of each run. */
  readonly onEvent?: (event: TrainingEvent, seed: number) => void;
}

const { seed: _seed, ...trainerNames } = trainerOptionNames;
const { checkpoint: _checkpoint, keep: _keep, otherData: _otherData, ...ownFitNames } = fitNames;

const optionNames = {
  ...{ ...trainerNames, ...ownFitNames, seeds: "list", test: true, onEvent: "function" },
} as const satisfies OptionNames<TrainSeedsOptions>;

/** The results of a run with one of the seeds. */
export interface SeedFigures {
  readonly seed: number;
  readonly step: number;
  readonly epoch: number;
  /** Mean loss of the last epoch's steps. */
  readonly loss: number;
  /** Figures on the held-out samples after the last epoch. */
  readonly validation?: Omit<EvaluationResult, "samples">;
  readonly test?: Omit<EvaluationResult, "samples">;
}

/** A run with one of the seeds, and its model. */
export interface SeedRun extends SeedFigures {
  readonly model: Model;
}

/** The figures of several runs that differ in their seed alone. */
export interface SeedsResult<R extends SeedFigures = SeedRun> {
  readonly seeds: readonly number[];
  /** Those that came to their end. */
  readonly runs: readonly R[];
  /** By `loss`, `validation.loss`, `test.accuracy` and so on. */
  readonly summary: Readonly<Record<string, MeanInterval>>;
}

/** Trains a model once for each seed. `SeedFunctions.trainSeeds` documents it. */
export async function trainSeeds(
  model: Model,
  dataset: Dataset,
  options: TrainSeedsOptions,
  runtime: TrainerRuntime,
): Promise<SeedsResult> {
  checkKnown("trainSeeds", options, optionNames);
  checkDataset(dataset);
  if (options.test !== undefined) checkDataset(options.test);
  const { seeds, test, onEvent, epochs, maxSteps, validation, monitor, earlyStop, ...others } = options;
  const { callbacks, signal, ...own } = others;
  const fit = given({ epochs, maxSteps, validation, monitor, earlyStop, callbacks, signal });
  return runSeeds(seeds, async (seed) => {
    if (signal?.aborted) return undefined;
    const trainer = await Trainer.create(model, { ...own, seed }, runtime);
    try {
      let end: TrainingEvent | undefined;
      for await (const event of trainer.fit(dataset, fit)) {
        onEvent?.(event, seed);
        if (event.event === "end") end = event;
      }
      if (signal?.aborted || !end) return undefined;
      const held = "validation" in end ? end.validation : undefined;
      const figures = seedFigures(seed, end, {
        validation: held,
        test: test && (await trainer.evaluate(test)),
      });
      return { ...figures, model: trainer.export() };
    } finally {
      await trainer.release();
    }
  });
}

/**
 * One run after another, each with its seed: the loop of {@link trainSeeds} and of `train --seeds`.
 * @param run - makes the run of a seed, given those before it; undefined ends the loop
 */
export async function runSeeds<R extends SeedFigures>(
  seeds: readonly number[],
  run: (seed: number, before: readonly R[]) => Promise<R | undefined>,
): Promise<SeedsResult<R>> {
  checkSeeds(seeds);
  const runs: R[] = [];
  for (const seed of seeds) {
    const one = await run(seed, runs);
    if (!one) break;
    runs.push(one);
  }
  return seedsResult(seeds, runs);
}

/** The results of a run with a seed, from its last step and evaluations. */
export const seedFigures = (
  seed: number,
  { step, epoch, loss }: Pick<TrainingEvent, "step" | "epoch" | "loss">,
  { validation, test }: { readonly [part in "validation" | "test"]?: EvaluationResult | undefined },
): SeedFigures => ({
  ...{ seed, step, epoch, loss },
  ...given({ validation, test }),
});

function checkSeeds(seeds: readonly number[]): void {
  if (seeds.length === 0)
    throw new UsageError("trainSeeds needs seeds, one for each run: { seeds: [1, 2, 3] }");
  for (const seed of seeds) checkNumber("a seed", seed, countFromZero);
  const twice = seeds.find((seed, i) => seeds.indexOf(seed) !== i);
  if (twice !== undefined)
    throw new UsageError(`the seed ${twice} is given twice: its runs would be the same`);
}

/** The figures of some runs with their means. */
export function seedsResult<R extends SeedFigures>(
  seeds: readonly number[],
  runs: readonly R[],
): SeedsResult<R> {
  const figures = runs.map(
    ({ loss, validation, test }): Readonly<Record<string, number>> => ({
      loss,
      ...figuresOf("validation", validation),
      ...figuresOf("test", test),
    }),
  );
  const names = Object.keys(figures[0] ?? {});
  const valuesOf = (name: string) => figures.flatMap((one) => one[name] ?? []);
  return {
    ...{ seeds, runs },
    summary: Object.fromEntries(names.map((name) => [name, meanInterval(valuesOf(name))])),
  };
}

function figuresOf(part: string, figures: Partial<EvaluationResult> = {}): Record<string, number> {
  const { samples: _, metrics = {}, ...others } = figures;
  const numbers = Object.entries({ ...others, ...metrics }).filter(([, value]) => typeof value === "number");
  return Object.fromEntries(numbers.map(([name, value]) => [`${part}.${name}`, value as number]));
}
