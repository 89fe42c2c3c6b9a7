import { batchAxisOf, type DimensionOptions, hasFreeBatch } from "../analysis/dimensions.ts";
import { mayBeMiscomputed } from "../analysis/unsafe-forms.ts";
import { epochOrder } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Normalization } from "../data/normalize.ts";
import { asMembers, feedsOfGraph } from "../data/sample-feeds.ts";
import { DataError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf, modelOf } from "../graph/model-graph.ts";
import { checkNumber, count, seedNumber } from "../numbers.ts";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { sidestepFaults } from "../passes/training/sidestep-faults.ts";
import { leaveTrainingMode } from "../passes/training/stop-dropout.ts";
import { batchFor } from "./model-run.ts";
import type { SessionOptions } from "./step-session.ts";
import { backendNamed } from "./trainer-options.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** Which samples are measured, and how they are fed. */
interface MeasuredOptions extends DimensionOptions {
  readonly samples: number;
  readonly seed: number;
  readonly normalize?: Normalization;
  readonly signal?: AbortSignal;
}

/** The samples that statistics are measured on, in whole batches. */
export class MeasuredBatches {
  /** Rows of a batch: a sample is one, or several where it holds several inputs of the model. */
  readonly size: number;
  readonly samples: number;
  readonly dimensions: DimensionOptions;
  readonly #graph: Graph;
  readonly #dataset: Dataset;
  readonly #options: MeasuredOptions;
  readonly #order: Uint32Array;

  /** The batches of a model. The inputs of pairs and triplets pass through it side by side, as while it is trained. */
  static async of(model: Model, dataset: Dataset, options: MeasuredOptions): Promise<MeasuredBatches> {
    const graph = graphOf(model);
    return asMembers(
      model,
      dataset,
      (samples, siamese) => new MeasuredBatches(graph, samples, options, siamese),
    );
  }

  private constructor(graph: Graph, dataset: Dataset, options: MeasuredOptions, siamese: number) {
    checkNumber("the number of samples", options.samples, count);
    checkNumber("the seed", options.seed, seedNumber);
    this.#graph = graph;
    this.#dataset = dataset;
    this.#options = options;
    const samples = dataset.size / siamese;
    const rows = Math.min(options.samples, samples) * siamese;
    const batch = options.batch === undefined ? undefined : options.batch * siamese;
    const size = batchFor(graph, batch, rows);
    // A batch holds whole samples.
    this.size = hasFreeBatch(graph) ? size - (size % siamese) : size;
    const whole = Math.floor(rows / this.size);
    if (whole === 0) {
      throw new DataError(
        `${dataset.name}: ${rows / siamese} samples do not fill a batch of ${this.size / siamese}; measure BatchNorm's statistics on more, or use a smaller batch`,
      );
    }
    this.samples = (whole * this.size) / siamese;
    const order = epochOrder({ ...dataset, size: samples }, options.seed, 0);
    const rowOf = (i: number) => (order[Math.floor(i / siamese)] as number) * siamese + (i % siamese);
    this.#order = Uint32Array.from({ length: whole * this.size }, (_, i) => rowOf(i));
    const open = [...this.#feeds().tensors()].flatMap(([name, { dims }]) => {
      const input = graph.valueNamed(name);
      const batchAxis = batchAxisOf(input, dims, undefined);
      return dims.flatMap((length, axis) =>
        axis === batchAxis || typeof input.declared?.[axis] === "number"
          ? []
          : [[`${name}.${axis}`, length] as const],
      );
    });
    this.dimensions = { batch: this.size, dims: { ...Object.fromEntries(open), ...options.dims } };
  }

  #feeds() {
    // The trainer says how it scales pixels.
    const { normalize } = this.#options;
    return feedsOfGraph(this.#graph, this.#dataset, this.size, { normalize });
  }

  /** The inputs of each batch. */
  async *feeds(most = Number.POSITIVE_INFINITY): AsyncGenerator<ReadonlyMap<string, Tensor>> {
    const feeds = this.#feeds();
    for (let start = 0, done = 0; start < this.#order.length && done < most; start += this.size, done++) {
      this.#options.signal?.throwIfAborted();
      await feeds.fill(this.#order.subarray(start, start + this.size));
      yield feeds.tensors();
    }
  }
}

export function inferenceForm(model: Model): Graph {
  const graph = graphOf(model);
  leaveTrainingMode(graph);
  return graph;
}

/** What a graph computes of each batch, the first `most` of them. Its inputs that no node reads are left out. */
export async function* resultsOf(
  graph: Graph,
  model: Model,
  batches: MeasuredBatches,
  options: SessionOptions & { readonly backend?: string },
  { backends }: TrainerRuntime,
  most?: number,
): AsyncGenerator<ReadonlyMap<string, Tensor>> {
  graph.pruneInputs();
  if (mayBeMiscomputed(graph)) sidestepFaults(graph);
  const read = new Set(graph.inputs.map(({ name }) => name));
  const session = await backendNamed(options.backend, backends).openForward(modelOf(graph, model), options);
  try {
    for await (const feeds of batches.feeds(most)) {
      yield await session.run(new Map([...feeds].filter(([name]) => read.has(name))));
    }
  } finally {
    await session.release();
  }
}
