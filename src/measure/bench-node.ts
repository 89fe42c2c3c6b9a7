import { strip } from "../block/strip.ts";
import { checkDataset } from "../data/check-dataset.ts";
import type { Dataset } from "../data/dataset.ts";
import { UsageError } from "../errors.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { checkNumber, count, notNegative } from "../numbers.ts";
import { checkModel } from "../onnx/check-model.ts";
import type { Model } from "../onnx/model.ts";
import type { BackendName } from "../passes/backends/names.ts";
import { planOf } from "../penalties/plan.ts";
import { planText } from "../penalties/text.ts";
import { modelFacts } from "../programs/model-facts.ts";
import { trainerOptionNames } from "../runtime/check-trainer-options.ts";
import type { TrainerOptions } from "../runtime/trainer-options.ts";
import type { TrainerRuntime } from "../runtime/trainer-runtime.ts";
import { type BackendTimes, type BenchmarkForm, benchmarkStep } from "./step-benchmark-node.ts";

/** Options of `bench`: those of the trainer whose step is timed, and how it is timed. */
export interface BenchOptions extends Omit<TrainerOptions, "backend" | "learningRate"> {
  /** Where to run; default: every backend that is here. */
  readonly backends?: readonly BackendName[];
  /** Default: random samples. */
  readonly dataset?: Dataset;
  /** Rounds, in each of which all steps run in turn; the median counts. Default 7. */
  readonly rounds?: number;
  /** Least time of a step in a round, in milliseconds; default 200. */
  readonly roundTime?: number;
  /** Also measure the time of each operator, by ONNX Runtime itself; default false. */
  readonly profile?: boolean;
  /** Ends the measurement. */
  readonly signal?: AbortSignal;
  /** Called with what is being measured. */
  readonly onProgress?: (text: string) => void;
}

/** A low learning rate, because a network that has learned its only batches by heart computes with denormal numbers, which is slow. */
const usualRate = 1e-5;

const { backend: _backend, learningRate: _learningRate, ...trainerNames } = trainerOptionNames;

const optionNames = {
  ...trainerNames,
  ...{ backends: "list", dataset: true, rounds: true, roundTime: true, profile: "flag" },
  ...{ signal: "signal", onProgress: "function" },
} as const satisfies OptionNames<BenchOptions>;

/** Times a training step. `bench` of the library documents it. */
export async function bench(
  model: Model,
  options: BenchOptions,
  { backends, probe }: Pick<TrainerRuntime, "backends" | "probe">,
): Promise<BackendTimes[]> {
  checkKnown("bench", options, optionNames);
  checkModel(model);
  if (options.dataset !== undefined) checkDataset(options.dataset);
  const { backends: asked, dataset, rounds = 7, roundTime = 200, profile = false, ...others } = options;
  const { signal, onProgress, ...own } = others;
  checkNumber("the number of rounds", rounds, count);
  checkNumber("the time of a round", roundTime, notNegative);
  const unknown = asked?.find((name) => !backends.some((backend) => backend.name === name));
  if (unknown !== undefined || asked?.length === 0) {
    const known = backends.map(({ name }) => name).join(", ");
    throw new UsageError(
      `bench runs on ${known}, not on ${unknown === undefined ? "nothing" : `"${unknown}"`}`,
    );
  }
  return benchmarkStep(formsOf(model, { ...own, learningRate: usualRate }), {
    ...{ backends: backends.filter(({ name }) => asked?.includes(name as BackendName) ?? true), probe },
    ...{ dataset, rounds, milliseconds: roundTime, profile, signal },
    ...(onProgress && { onProgress }),
  });
}

/** The step without a penalty, and with those of the options or of the model. */
function formsOf(model: Model, options: TrainerOptions): BenchmarkForm[] {
  const { block } = modelFacts(model, options);
  const { onMessage: _, penaltyWeight: _weight, penaltyShare: _share, ...quiet } = options;
  const { penaltySchedule: _schedule, applyPenalties: _apply, ...unpenalized } = quiet;
  const injected = block !== undefined && !options.penalties?.length;
  const plain = {
    penalty: "none",
    model: injected ? strip(model) : model,
    options: { ...unpenalized, penalties: [] },
  };
  const plans = injected ? block.penalties : (options.penalties ?? []);
  const penalty = plans.map((plan) => planText(planOf(plan))).join(" and ");
  return plans.length === 0 ? [plain] : [plain, { penalty, model, options }];
}
