import { uniformFloat32 } from "pure-rand/distribution/uniformFloat32";
import type { Dataset, Filled } from "../data/dataset.ts";
import type { DataFeeds, FeedOptions } from "../data/feeds.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import { drawn } from "../penalties/draws.ts";
import type { DrawPort, StepPorts } from "../programs/step-ports.ts";
import { randomStream } from "../random.ts";
import { batchFeeds } from "./batch-feeds.ts";
import type { StepScalars } from "./step-scalars.ts";
import type { StepFeeds } from "./step-session.ts";

/** The inputs of a step that every run feeds. A graph that ends at the gradients has no learning rate and no step. */
type StepInputs = Pick<
  StepPorts,
  "inputs" | "labels" | "targets" | "masks" | "draws" | "penalties" | "count"
> & {
  readonly scalars: Partial<StepPorts["scalars"]> & Pick<StepPorts["scalars"], "type">;
};

/** What a run reads its feeds from. */
export type Feeder = Pick<StepFeeder, "fill" | "feeds">;

/** Writes the feeds of runs: of one step, or of several for a step in Loop form. */
export class StepFeeder {
  readonly #ports: StepInputs;
  readonly #batches: DataFeeds;
  readonly #seed: number;
  /** Random numbers drawn for an epoch, by input name. */
  readonly #drawn = new Map<string, { readonly epoch: number; readonly tensor: Tensor }>();

  /**
   * @param options - `batches`: most steps of a run
   * @throws SorthError when samples do not fit the model
   */
  constructor(ports: StepInputs, dataset: Dataset, seed: number, options: FeedOptions) {
    this.#ports = ports;
    this.#batches = batchFeeds(ports, dataset, options);
    this.#seed = seed;
  }

  /**
   * Writes the samples of the next run, batch after batch; a promise if the dataset answers with one.
   * @param epoch - for training: which pass over the data, from 0; without it samples are read as for an evaluation
   */
  fill(indices: Uint32Array, epoch?: number): Filled {
    return this.#batches.fill(indices, epoch === undefined ? undefined : { seed: this.#seed, epoch });
  }

  /** The feeds of a run over the first batches written by `fill`, one batch for each of `steps`. */
  feeds(steps: readonly StepScalars[]): StepFeeds {
    const { scalars, count } = this.#ports;
    const scalar = (name: string, values: readonly number[]) => {
      const numbers = scalars.type === "double" ? Float64Array.from(values) : Float32Array.from(values);
      return [
        name,
        Tensor.of(name, scalars.type, count === undefined ? [] : [steps.length], numbers),
      ] as const;
    };
    const each = (value: (step: StepScalars) => number) => steps.map(value);
    const given = (name: string | undefined, value: (step: StepScalars) => number) =>
      name === undefined ? [] : [scalar(name, each(value))];
    return new Map([
      ...this.#batches.tensors(count === undefined ? undefined : steps.length),
      ...this.#masks(each(({ number }) => number)),
      ...this.#draws(steps),
      ...given(scalars.learningRate, ({ learningRate }) => learningRate),
      ...given(scalars.step, ({ update }) => update),
      ...given(scalars.momentum, ({ momentum }) => momentum ?? Number.NaN),
      ...(scalars.rates ?? []).flatMap(({ input, rate }) =>
        given(input, ({ rateFactor }) => rate * rateFactor),
      ),
      ...given(scalars.penaltyWeight, ({ penaltyWeight }) => penaltyWeight),
      ...this.#ports.penalties.flatMap(({ name, schedule }) =>
        given(schedule, ({ schedules }) => schedules.get(name) ?? 1),
      ),
      ...(count === undefined
        ? []
        : [[count, Tensor.of(count, "int64", [], BigInt64Array.of(BigInt(steps.length)))] as const]),
    ]);
  }

  /** Random numbers of penalties: they depend on the seed and the step (or epoch) only. */
  #draws(steps: readonly StepScalars[]): Map<string, Tensor> {
    const { draws, count } = this.#ports;
    return new Map(
      draws.map((port) => {
        const { name, type, shape } = port;
        if (port.anew === "epoch") return [name, this.#drawnOf(port, steps[0]?.epoch ?? 0)] as const;
        const each = elementCount(shape);
        const numbers = new Float32Array(steps.length * each);
        for (const [i, { number }] of steps.entries()) {
          numbers.set(drawn(port, { run: this.#seed, round: number }), i * each);
        }
        const dims = count === undefined ? shape : [steps.length, ...shape];
        return [name, Tensor.of(name, type, dims, numbers)] as const;
      }),
    );
  }

  #drawnOf(port: DrawPort, epoch: number): Tensor {
    const { name, type, shape } = port;
    const known = this.#drawn.get(name);
    if (known?.epoch === epoch) return known.tensor;
    const tensor = Tensor.of(name, type, shape, drawn(port, { run: this.#seed, round: epoch }));
    this.#drawn.set(name, { epoch, tensor });
    return tensor;
  }

  /** Dropout masks of steps: they depend on the seed and the step only. */
  #masks(numbers: readonly number[]): Map<string, Tensor> {
    const { masks, count } = this.#ports;
    const arrays = masks.map(({ type, shape }) => {
      const length = numbers.length * elementCount(shape);
      return type === "double" ? new Float64Array(length) : new Float32Array(length);
    });
    for (const [step, number] of numbers.entries()) {
      const random = randomStream("dropout", this.#seed, number);
      for (const [i, { shape, ratio }] of masks.entries()) {
        const size = elementCount(shape);
        const array = arrays[i] as Float32Array;
        for (let at = step * size; at < (step + 1) * size; at++) {
          array[at] = uniformFloat32(random) < ratio ? 0 : 1;
        }
      }
    }
    return new Map(
      masks.map(({ name, type, shape }, i) => {
        const dims = count === undefined ? shape : [numbers.length, ...shape];
        return [name, Tensor.of(name, type, dims, arrays[i] as Float32Array)];
      }),
    );
  }
}
