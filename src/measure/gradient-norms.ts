import type { Probe } from "../analysis/probe.ts";
import { epochOrder } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { buildGradientStep, type GradientStep } from "../programs/split-step.ts";
import { batchOf } from "../programs/step-ports.ts";
import { sessionTensors, type TrainerState } from "../programs/trainer-state.ts";
import { StepFeeder } from "../runtime/step-feeds.ts";
import { type StepScalars, scalarsOfSteps } from "../runtime/step-scalars.ts";
import { type TimedOptions, timedOptions } from "../runtime/timed-options.ts";
import type { Trainer } from "../runtime/trainer.ts";
import type { ScheduledRun } from "../schedules/schedule.ts";

/** Norms of a parameter's two gradients. */
export interface GradientNorm {
  /** ‖∇L‖, of the loss without penalty. */
  readonly loss: number;
  /** ‖w∇R‖, of the weighted penalty. */
  readonly penalty: number;
}

/** Norms of the gradients of loss and penalty. */
export interface GradientNorms {
  /** Over all parameters together, and the cosine between the two gradients. */
  readonly total: GradientNorm & { readonly cosine: number };
  readonly parameters: readonly (GradientNorm & { readonly name: string })[];
}

/**
 * Measures the gradients of loss and penalty separately, on one batch. Runs the first half of the step, which ends at the
 * gradients, with and without the penalty's weight. The difference is w∇R, so a ratio below 1e-6 is rounding error.
 */
export class GradientMeter {
  readonly #step: GradientStep;
  readonly #feeder: StepFeeder;
  readonly #options: TimedOptions;
  readonly #probe: Probe;

  private constructor(step: GradientStep, feeder: StepFeeder, options: TimedOptions, probe: Probe) {
    this.#step = step;
    this.#feeder = feeder;
    this.#options = options;
    this.#probe = probe;
  }

  /**
   * @param trainer - a run with a penalty
   * @param dataset - the meter uses its first batch in the order of the run's seed
   */
  static async create({ model, options }: Trainer, dataset: Dataset, probe: Probe): Promise<GradientMeter> {
    const step = await buildGradientStep(
      model,
      { ...options, precision: "float32", onMessage: () => {} },
      probe,
    );
    const { seed = 0, normalize } = options;
    const feeder = new StepFeeder(step.ports, dataset, seed, { normalize });
    await feeder.fill(epochOrder(dataset, seed, 0).subarray(0, batchOf(step.ports)));
    return new GradientMeter(step, feeder, await timedOptions(options), probe);
  }

  /**
   * The norms at a state of the run; the penalty has the weight of that step.
   * @param at - the number of the step, from 1, and how many there will be
   */
  async measure(
    { parameters, statistics }: TrainerState,
    at: { readonly step: number; readonly totalSteps: number; readonly run?: ScheduledRun | undefined },
  ): Promise<GradientNorms> {
    const { ports } = this.#step;
    const state = sessionTensors(ports, { parameters, statistics });
    const [scalars] = scalarsOfSteps(this.#step, this.#options, {
      ...{ position: { step: at.step - 1 }, done: at.step, epoch: 0, totalSteps: at.totalSteps, run: at.run },
    }) as [StepScalars];
    // The same masks and random numbers in every measurement.
    const own = { ...scalars, number: 1, update: 1, learningRate: 0 };
    const both = await this.#gradients(state, own);
    const alone = await this.#gradients(state, { ...own, penaltyWeight: 0 });
    const sums = ports.parameters.map(({ name, gradient }) => ({
      name,
      ...productsOf(alone.get(gradient), both.get(gradient)),
    }));
    const sum = (of: (sums: Products) => number) => sums.reduce((total, one) => total + of(one), 0);
    const [loss, penalty] = [Math.sqrt(sum(({ losses }) => losses)), Math.sqrt(sum((one) => one.penalties))];
    return {
      total: { loss, penalty, cosine: sum(({ products }) => products) / (loss * penalty) },
      parameters: sums.map(({ name, losses, penalties }) => ({
        ...{ name, loss: Math.sqrt(losses), penalty: Math.sqrt(penalties) },
      })),
    };
  }

  #gradients(state: ReadonlyMap<string, Tensor>, scalars: StepScalars): Promise<ReadonlyMap<string, Tensor>> {
    return this.#probe.run(this.#step.gradients, new Map([...state, ...this.#feeder.feeds([scalars])]));
  }
}

interface Products {
  readonly losses: number;
  readonly penalties: number;
  readonly products: number;
}

/** Squared norms of ∇L and w∇R, and their product, from ∇L and ∇L + w∇R. */
function productsOf(alone: Tensor | undefined, both: Tensor | undefined): Products {
  const [first, second] = [alone?.data, both?.data] as [Float32Array, Float32Array];
  let [losses, penalties, products] = [0, 0, 0];
  for (let i = 0; i < first.length; i++) {
    const loss = first[i] as number;
    const penalty = (second[i] as number) - loss;
    losses += loss * loss;
    penalties += penalty * penalty;
    products += loss * penalty;
  }
  return { losses, penalties, products };
}
