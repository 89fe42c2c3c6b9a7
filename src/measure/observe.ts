import type { Probe } from "../analysis/probe.ts";
import { checkDataset } from "../data/check-dataset.ts";
import type { Dataset } from "../data/dataset.ts";
import { messageOf, UsageError } from "../errors.ts";
import { given } from "../given.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import type { TrainerState } from "../programs/trainer-state.ts";
import { checkTrainer } from "../runtime/check-trainer.ts";
import type { TrainingEvent } from "../runtime/events.ts";
import type { Trainer } from "../runtime/trainer.ts";
import { isObject, whatIs } from "../what-is.ts";
import type { LayerAngles } from "./angle-report.ts";
import { GradientMeter, type GradientNorms } from "./gradient-norms.ts";
import { type Attempt, type TrainerAngleOptions, trainerAngles } from "./trainer-angles.ts";

/** The angles of one layer, in degrees, as the record of a run stores them. */
export interface ObservedAngles {
  readonly mean: number;
  readonly spread: number;
  readonly min: number;
  readonly max: number;
  /** Mean of |cos|, and the largest. */
  readonly meanAbsoluteCosine: number;
  readonly coherence: number;
}

/** The angles of each layer: before the first step (epoch 0), after each epoch, at the end. */
export interface AnglesEvent {
  readonly event: "angles";
  readonly step: number;
  readonly epoch: number;
  readonly layers: readonly {
    readonly name: string;
    readonly weights?: ObservedAngles;
    /** Response angles, on the same samples each time. */
    readonly responses?: ObservedAngles;
  }[];
}

/** Norms of the gradients of loss and weighted penalty on one batch, measured whenever angles are. */
export interface GradientsEvent extends GradientNorms {
  readonly event: "gradients";
  readonly step: number;
  readonly epoch: number;
}

/** What {@link observe} adds to a run's events. */
export type ObservationEvent = AnglesEvent | GradientsEvent;

/** Options of {@link observe}. */
export interface ObserveOptions extends Pick<TrainerAngleOptions, "weights" | "samples" | "gamma"> {
  /** Measure the gradients of loss and penalty apart, where there is a penalty (default true). */
  readonly gradients?: boolean;
  /** Receives messages about measurements that failed, with the reason. */
  readonly onMessage?: (message: string) => void;
}

const optionNames = {
  ...{ weights: "flag", samples: true, gamma: true, gradients: "flag", onMessage: "function" },
} as const satisfies OptionNames<ObserveOptions>;

/** Passes on the events of a run, with measurements between them. `Library.observe` documents it. */
export async function* observe(
  trainer: Trainer,
  dataset: Dataset,
  run: AsyncIterable<TrainingEvent>,
  options: ObserveOptions,
  probe: Probe,
): AsyncGenerator<TrainingEvent | ObservationEvent, void, undefined> {
  checkTrainer(trainer);
  checkDataset(dataset);
  checkKnown("observe", options, optionNames);
  if (!isObject(run) || !(Symbol.asyncIterator in run)) {
    throw new UsageError(`observe takes the events of trainer.fit(…), not ${whatIs(run)}`);
  }
  const observer = new Observer(trainer, dataset, options, probe);
  // The penalty's weight over the run depends on the run's length, which is known after the first step.
  let beginning = trainer.steps === 0 ? await observer.look(0, 0) : undefined;
  let measured = trainer.steps;
  let totalSteps = 1;
  for await (const event of run) {
    if (event.event === "step") totalSteps = event.totalSteps;
    if (beginning) yield* observer.measured(beginning, totalSteps);
    beginning = undefined;
    if (event.event === "epoch") yield event;
    const ended = event.event === "end" && event.stopped !== "aborted" && event.step > measured;
    if (ended || event.event === "epoch") {
      measured = event.step;
      yield* observer.measured(await observer.look(event.step, event.epoch), totalSteps);
    }
    // The `end` event must stay the last one of the record.
    if (event.event !== "epoch") yield event;
  }
}

/** A snapshot of a run after one of its steps. */
interface Look {
  readonly step: number;
  readonly epoch: number;
  readonly layers: AnglesEvent["layers"];
  /** Undefined when no gradients are to be measured. */
  readonly state: TrainerState | undefined;
}

class Observer {
  readonly #trainer: Trainer;
  readonly #dataset: Dataset;
  readonly #options: ObserveOptions;
  readonly #probe: Probe;
  readonly #failed = new Set<string>();
  readonly #told = new Set<string>();
  #meter: Promise<GradientMeter> | undefined;

  constructor(trainer: Trainer, dataset: Dataset, options: ObserveOptions, probe: Probe) {
    this.#trainer = trainer;
    this.#dataset = dataset;
    this.#options = options;
    this.#probe = probe;
  }

  /** Measures the angles and copies the parameters, before the run continues. */
  async look(step: number, epoch: number): Promise<Look> {
    const { gradients = true } = this.#options;
    const wanted = gradients && this.#trainer.step.ports.penalty !== undefined;
    const state = wanted ? await this.#attempt("gradient norms", () => this.#trainer.readState()) : undefined;
    return { step, epoch, layers: await this.#angles(), state };
  }

  /** The events of a snapshot. */
  async *measured(
    { step, epoch, layers, state }: Look,
    totalSteps: number,
  ): AsyncGenerator<ObservationEvent> {
    if (layers.length > 0) yield { event: "angles", step, epoch, layers };
    const norms =
      state &&
      (await this.#attempt("gradient norms", async () => {
        this.#meter ??= GradientMeter.create(this.#trainer, this.#dataset, this.#probe);
        const { scheduled: run } = this.#trainer;
        return (await this.#meter).measure(state, { step: Math.max(step, 1), totalSteps, run });
      }));
    if (norms) yield { event: "gradients", step, epoch, ...norms };
  }

  async #angles(): Promise<AnglesEvent["layers"]> {
    const { weights, samples, gamma } = this.#options;
    const layers = await trainerAngles(
      this.#trainer,
      this.#dataset,
      { ...given({ weights, samples, gamma }), onLimit: (what) => this.#limited(what) },
      this.#probe,
      this.#attempt,
    );
    return layers.map((layer) => {
      const [weight, response] = [observed(layer.weights), observed(layer.responses)];
      return {
        name: layer.name,
        ...(weight && { weights: weight }),
        ...(response && { responses: response }),
      };
    });
  }

  /** Says once what takes part in the measurements of a large network. */
  #limited(what: string): void {
    if (this.#told.has(what)) return;
    this.#told.add(what);
    this.#options.onMessage?.(`the report's angles are those of ${what}: sorth-onnx angles measures more`);
  }

  /** Does a measurement. If it fails, reports that once, returns undefined, and does not try the measurement again. */
  readonly #attempt: Attempt = async (what, measurement) => {
    if (this.#failed.has(what)) return undefined;
    try {
      return await measurement();
    } catch (error) {
      this.#failed.add(what);
      this.#options.onMessage?.(`${what} are not in the report: ${messageOf(error)}`);
      return undefined;
    }
  };
}

function observed(layer: LayerAngles | undefined): ObservedAngles | undefined {
  if (!layer || layer.pairs === 0) return undefined;
  const { mean, spread, min, max, meanAbsoluteCosine, coherence } = layer;
  return { mean, spread, min, max, meanAbsoluteCosine, coherence };
}
