import { cacheInputs } from "../analysis/cache-inputs.ts";
import { mayHaveCache } from "../analysis/cache-names.ts";
import { batchAxisOf, declaredBatchAxis, fedInputs } from "../analysis/dimensions.ts";
import { DataError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import { checkNumber, count as someSamples } from "../numbers.ts";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { checkDataset } from "./check-dataset.ts";
import type { Column, Dataset } from "./dataset.ts";
import type { FeedPort } from "./feed-array.ts";
import { DataFeeds, type FeedOptions } from "./feeds.ts";
import { fitShape } from "./fit.ts";
import { matchInputs } from "./match.ts";
import { fixedShape, labelInputs, rowsOf } from "./model-inputs.ts";
import { chooseNormalization, type Normalization } from "./normalize.ts";

/** Options of `sampleFeeds`. */
export interface SampleFeedOptions {
  /** Conversion of pixels; default: chosen from the data and the model, with a message. */
  readonly normalize?: Normalization | undefined;
  /** Receives messages for the user: scaled pixels, transposed arrays. */
  readonly onMessage?: ((message: string) => void) | undefined;
}

const optionNames = {
  normalize: true,
  onMessage: "function",
} as const satisfies OptionNames<SampleFeedOptions>;

/** The first samples of a dataset as tensors for a model's inputs. `ModelFunctions.sampleFeeds` documents it. */
export async function sampleFeeds(
  model: Model,
  dataset: Dataset,
  count: number,
  options: SampleFeedOptions = {},
): Promise<Map<string, Tensor>> {
  checkKnown("sampleFeeds", options, optionNames);
  const graph = graphOf(model);
  checkDataset(dataset);
  checkNumber("the number of samples", count, someSamples);
  const fed = async (samples: Dataset, size: number) => {
    const feeds = feedsOfGraph(graph, samples, size, options);
    await feeds.fill(Array.from({ length: size }, (_, index) => index));
    return feeds.tensors();
  };
  const size = Math.min(count, dataset.size);
  return asMembers(model, dataset, async (samples, siamese) => {
    const tensors = await fed(samples, size * siamese);
    if (siamese > 1)
      options.onMessage?.(
        `${dataset.name}: each sample holds ${siamese} inputs of the model, which reads them one by one: ${size * siamese} rows of ${size} samples`,
      );
    return tensors;
  });
}

/**
 * Works with a dataset, and where its samples do not fit the model because each holds several inputs of it (pairs, triplets), with
 * these as samples.
 * @param work - takes the samples, and how many of them one sample of the dataset holds
 */
export async function asMembers<T>(
  model: Model,
  dataset: Dataset,
  work: (samples: Dataset, siamese: number) => T | Promise<T>,
): Promise<T> {
  try {
    return await work(dataset, 1);
  } catch (error) {
    if (!(error instanceof DataError)) throw error;
    const members = (await import("./members.ts")).membersOf(model, dataset);
    if (!members) throw error;
    return work(members.dataset, members.siamese);
  }
}

/**
 * Feeds a dataset to a model's own inputs, in the types that the model declares.
 * @param size - samples of one batch
 * @param added - an input for labels that the model does not have
 */
export function feedsOfGraph(
  graph: Graph,
  dataset: Dataset,
  size: number,
  options: SampleFeedOptions & Pick<FeedOptions, "readElsewhere">,
  added: readonly FeedPort[] = [],
): DataFeeds {
  const caches = mayHaveCache(graph) ? emptyPorts(graph, size) : [];
  const inputs = fedInputs(graph).filter(({ name }) => !caches.some((port) => port.name === name));
  if (inputs.length === 0) throw new DataError("the model has no input for data");
  const labels = labelInputs(graph);
  const data = inputs.filter((input) => !labels.includes(input));
  const names = (values: readonly Pick<Value, "name">[]) => values.map(({ name }) => name);
  const { columns } = matchInputs(dataset, {
    data: names(data),
    labels: names([...labels, ...added]),
    own: added.find(({ own }) => own),
  });
  const { x, y, name } = dataset;
  const columnOf = (input: Value) => {
    const column = columns.get(input.name) ?? "x";
    return typeof column === "string" ? { ...(column === "x" ? x : y), name: column } : column;
  };
  const shapeOf = (input: Value): FeedPort => {
    const { type = "undefined", declared } = input;
    const batchAxis = batchAxisOf(input, fixedShape(input) ?? [], rowsOf(graph));
    const { shape, name: key } = columnOf(input);
    const labelled = labels.includes(input);
    const fitted =
      labelled || !declared
        ? shape
        : fitShape(`${name}: ${key}`, shape, { name: input.name, shape: declared, batchAxis }).shape;
    return { name: input.name, type, shape: fitted.toSpliced(batchAxis, 0, size), batchAxis };
  };
  const ports = { data: data.map(shapeOf), labels: [...labels.map(shapeOf), ...added] };
  const fed = ports.data.flatMap((port) => {
    const column = columns.get(port.name);
    return typeof column === "object" ? [[port, column] as [FeedPort, Column]] : [];
  });
  const chosen =
    options.normalize ??
    told(
      chooseNormalization(name, fed, () => graph),
      options,
    );
  const { onMessage, readElsewhere } = options;
  return new DataFeeds(ports, dataset, { normalize: chosen, onMessage, readElsewhere, empty: caches });
}

/** The inputs of a decoder for former tokens, of which there are none. */
function emptyPorts(graph: Graph, size: number): FeedPort[] {
  return cacheInputs(graph).map(({ input, declared, axis, places }) => {
    const { name, type = "float" } = input;
    const batchAxis = declaredBatchAxis(input);
    const shape = declared.map((dim, at) => {
      if (at === batchAxis) return size;
      if (at === axis) return places;
      return typeof dim === "number" ? dim : 0;
    });
    return { name, type, shape, batchAxis };
  });
}

function told(
  { normalize, remarks }: ReturnType<typeof chooseNormalization>,
  { onMessage }: SampleFeedOptions,
): Normalization | undefined {
  for (const remark of remarks) onMessage?.(remark);
  return normalize;
}
