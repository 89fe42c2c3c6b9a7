import { stepsPerEpoch } from "../data/batches.ts";
import { checkDataset } from "../data/check-dataset.ts";
import type { Dataset } from "../data/dataset.ts";
import { NumericError, UsageError } from "../errors.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { checkNumber, countFromZero, type NumberRange, positive } from "../numbers.ts";
import { planOf } from "../penalties/plan.ts";
import { batchOf } from "../programs/step-ports.ts";
import { checkTrainer } from "../runtime/check-trainer.ts";
import { Trainer } from "../runtime/trainer.ts";
import type { TrainerRuntime } from "../runtime/trainer-runtime.ts";

/** Options of {@link Library.findLearningRate}. */
export interface FindLearningRateOptions {
  /** The learning rate of the first step; default 1e-7. */
  readonly min?: number;
  /** The learning rate of the last step; default 10. */
  readonly max?: number;
  /** Steps from `min` to `max`; default 100. */
  readonly steps?: number;
  /** Ends the search after the current step; the curve up to there is returned. */
  readonly signal?: AbortSignal;
  /** Called after each step, for progress. */
  readonly onStep?: (point: LearningRatePoint, done: number, steps: number) => void;
}

const optionNames = {
  ...{ min: true, max: true, steps: true, signal: "signal", onStep: "function" },
} as const satisfies OptionNames<FindLearningRateOptions>;

/** One step of {@link Library.findLearningRate}. */
export interface LearningRatePoint {
  readonly learningRate: number;
  /** The step's loss, penalties included. */
  readonly loss: number;
  /** The running mean of the losses that suggestions and the end of the search follow. */
  readonly smoothed: number;
}

/** What {@link Library.findLearningRate} finds. */
export interface FoundLearningRate {
  /** The suggestion to train with: `valley`, which noise moves least, else `steepest`. Undefined if the loss falls nowhere. */
  readonly suggestion: number | undefined;
  /** Where the smoothed loss falls fastest over the logarithm of the rate. */
  readonly steepest: number | undefined;
  /** In the middle of the longest fall of the smoothed loss, as fastai's `valley`. */
  readonly valley: number | undefined;
  /** Every step, in order. */
  readonly points: readonly LearningRatePoint[];
  /** Why the search ended before its last step: the loss diverged, or the caller aborted it. */
  readonly stopped?: "diverged" | "aborted";
}

/** The share of the past in the running mean of the losses. */
const past = 0.98;
/** The search ends when the running mean is this many times its smallest value. */
const divergence = 4;

const someSteps: NumberRange = {
  words: "a whole number of 2 or more",
  holds: (value) => countFromZero.holds(value) && value >= 2,
};

/** Finds a learning rate on a copy of a run's state. Source: Smith 2017, arXiv 1506.01186, section 3.3, as in fastai and PyTorch Lightning. */
export async function findLearningRate(
  trainer: Trainer,
  dataset: Dataset,
  options: FindLearningRateOptions,
  runtime: TrainerRuntime,
): Promise<FoundLearningRate> {
  checkTrainer(trainer);
  checkDataset(dataset);
  checkKnown("findLearningRate", options, optionNames);
  const { min = 1e-7, max = 10, steps = 100, signal, onStep } = options;
  checkNumber("min, the first learning rate,", min, positive);
  checkNumber("max, the last learning rate,", max, positive);
  checkNumber("the number of steps", steps, someSteps);
  if (min >= max) throw new UsageError(`max, the last learning rate, must be above min (${min}), not ${max}`);
  const copy = await copyOf(trainer, (step) => (max / min) ** ((step - 1) / (steps - 1)), min, runtime);
  const points: LearningRatePoint[] = [];
  let stopped: FoundLearningRate["stopped"];
  try {
    const epochs = Math.ceil(steps / stepsPerEpoch(dataset, batchOf(copy.step.ports)));
    let [mean, best] = [0, Number.POSITIVE_INFINITY];
    for await (const event of copy.fit(dataset, { epochs, maxSteps: steps, ...(signal && { signal }) })) {
      if (event.event !== "step") continue;
      const { loss, learningRate } = event;
      mean = past * mean + (1 - past) * loss;
      const point = { learningRate, loss, smoothed: mean / (1 - past ** event.step) };
      points.push(point);
      onStep?.(point, points.length, steps);
      best = Math.min(best, point.smoothed);
      if (best > 0 && point.smoothed > divergence * best) {
        stopped = "diverged";
        break;
      }
    }
    if (signal?.aborted) stopped ??= "aborted";
  } catch (error) {
    // A loss of NaN or infinity is the end of the curve.
    if (!(error instanceof NumericError) || points.length === 0) throw error;
    stopped = "diverged";
  } finally {
    await copy.release();
  }
  const { steepest, valley } = suggestedRates(points, steps);
  return { suggestion: valley ?? steepest, steepest, valley, points, ...(stopped && { stopped }) };
}

/** A trainer of the same model and options, with a copy of the state and rates of its own. */
async function copyOf(
  trainer: Trainer,
  schedule: (step: number) => number,
  learningRate: number,
  runtime: TrainerRuntime,
): Promise<Trainer> {
  // The trainer's model has its adapters already.
  const { penaltySchedule: _, lora: __, penalties, ...options } = trainer.options;
  const plans = penalties?.map((given) => {
    const { schedule: __, ...plan } = planOf(given);
    return plan;
  });
  const state = await trainer.readState();
  const own = { ...options, ...(plans && { penalties: plans }), backend: trainer.backend };
  // No messages while the copy is made: the user got the remarks about the model when the trainer itself was made.
  let isMade = false;
  const onMessage = (message: string) => void (isMade && options.onMessage?.(message));
  const copy = await Trainer.create(trainer.model, { ...own, learningRate, schedule, onMessage }, runtime);
  try {
    copy.takeOver(state);
    isMade = true;
  } catch (error) {
    await copy.release();
    throw error;
  }
  return copy;
}

/** A learning rate and the smoothed loss there. */
interface Point {
  readonly learningRate: number;
  readonly smoothed: number;
}

/** Points at the end that say nothing: the loss diverges there. */
const lastLeftOut = { steepest: 1, valley: 5 };

/**
 * Learning rates that a curve of losses over rising rates suggests; the rates grow by a constant factor. The first tenth of the
 * steps is left out, because the running mean of the losses has not settled there.
 * @param steps - how many points the curve was to have; it may have ended early
 * @returns `steepest`: where the loss falls fastest over the logarithm of the rate (PyTorch Lightning); `valley`: a third and
 * a sixth into the longest fall (fastai); undefined where the loss does not fall
 */
export function suggestedRates(
  points: readonly Point[],
  steps: number,
): {
  readonly steepest: number | undefined;
  readonly valley: number | undefined;
} {
  const first = Math.floor(steps / 10);
  const between = (last: number) => points.slice(first, Math.max(first, points.length - last));
  return {
    steepest: steepest(between(lastLeftOut.steepest))?.learningRate,
    valley: valley(between(lastLeftOut.valley))?.learningRate,
  };
}

/** The point with the smallest slope: central differences, and one-sided ones at the ends, as numpy.gradient. */
function steepest(points: readonly Point[]): Point | undefined {
  let best: { readonly slope: number; readonly point: Point } | undefined;
  for (const [i, point] of points.entries()) {
    const [before, after] = [Math.max(0, i - 1), Math.min(points.length - 1, i + 1)];
    const slope = ((points[after] ?? point).smoothed - (points[before] ?? point).smoothed) / (after - before);
    if (slope < (best?.slope ?? 0)) best = { slope, point };
  }
  return best?.point;
}

/** A point in the longest sequence of points, not all of them neighbours, along which the loss falls. */
function valley(points: readonly Point[]): Point | undefined {
  const lengths = new Array<number>(points.length).fill(1);
  let end = 0;
  for (const [i, { smoothed }] of points.entries()) {
    for (let j = 0; j < i; j++) {
      const longer = (lengths[j] ?? 0) + 1;
      if (smoothed < (points[j]?.smoothed ?? 0) && longer > (lengths[i] ?? 0)) lengths[i] = longer;
    }
    if ((lengths[i] ?? 0) > (lengths[end] ?? 0)) end = i;
  }
  const length = lengths[end] ?? 0;
  if (length < 2) return undefined;
  const third = Math.floor(length / 3);
  return points[Math.max(0, end - length + third + Math.floor(length / 6))];
}
