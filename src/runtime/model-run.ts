import { stepPrefix } from "../analysis/block-nodes.ts";
import { mayHaveCache } from "../analysis/cache-names.ts";
import { declaredBatchAxis, fedInputs, fixedBatches } from "../analysis/dimensions.ts";
import { seedDraws } from "../analysis/drawing-operators.ts";
import { inferShapes } from "../analysis/infer.ts";
import { mayBeMiscomputed } from "../analysis/unsafe-forms.ts";
import { checkNoArtifact } from "../artifacts/training-model.ts";
import { blockOf, removeBlock } from "../block/block.ts";
import { type EvaluationBatch, evaluationBatches } from "../data/batches.ts";
import type { Dataset } from "../data/dataset.ts";
import type { FeedPort } from "../data/feed-array.ts";
import type { DataFeeds } from "../data/feeds.ts";
import { checkLabels } from "../data/labels.ts";
import type { Normalization } from "../data/normalize.ts";
import { feedsOfGraph } from "../data/sample-feeds.ts";
import { datasetFor } from "../data/term-labels.ts";
import { watchedLabels } from "../data/watched-labels.ts";
import { DataError, UsageError } from "../errors.ts";
import { Emit } from "../graph/emit.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf, modelOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import type { Objective } from "../losses/objective.ts";
import { choosePrediction } from "../losses/prediction.ts";
import type { NamedTerm } from "../losses/terms.ts";
import { checkNumber, count, threadCount } from "../numbers.ts";
import { type DataTypeName, isFloat } from "../onnx/data-types.ts";
import type { Model } from "../onnx/model.ts";
import type { BackendName } from "../passes/backends/names.ts";
import { runForms } from "../passes/backends/table.ts";
import { runPasses } from "../passes/pass.ts";
import { leaveTrainingMode } from "../passes/training/stop-dropout.ts";
import type { BucketForward } from "./bucket-forward.ts";
import { filledBatches } from "./evaluator.ts";
import { withSamplesFirst } from "./samples-first.ts";
import type { ForwardSession, SessionOptions } from "./step-session.ts";
import { backendNamed } from "./trainer-options.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";

/** Options of a run of a model over a dataset. */
export interface ModelRunOptions extends SessionOptions {
  /** The value to read, an output or an inner value; default: the first output of floats. */
  readonly output?: string;
  /** Samples per run, where the model leaves that open; default 64. */
  readonly batch?: number;
  /** Scaling of pixels; default: chosen from the data and the model, with a message. */
  readonly normalize?: Normalization;
  /** Default: the first backend of the entry, which is the CPU. */
  readonly backend?: BackendName;
  readonly signal?: AbortSignal;
  /**
   * Lengths of texts, ascending, as a trainer's `buckets`; the last is that of the samples. Texts of like lengths are run together,
   * without the padding that none of them needs, with the same figures. Default: all have the whole length.
   */
  readonly buckets?: readonly number[];
}

/** A value of the model to read, and what an objective compares it with. */
export interface ReadValue extends Pick<NamedTerm, "output" | "labels" | "mask"> {
  /** If the model ends in an operator that it applies itself, the value in front of that is taken. */
  readonly objective?: Objective | undefined;
  /** The loss's name, for messages. */
  readonly name: string;
}

interface BatchOfResults {
  /** Indices in the dataset of the samples that count: a fixed batch is filled up with copies of its last sample. */
  readonly samples: Uint32Array;
  /** What was read, in the order in which it was asked for. */
  readonly values: readonly ValueResults[];
}

/** The numbers of one value for a batch. */
export interface ValueResults {
  /** The value's numbers, [rows, …]; a sample may have several rows. */
  readonly scores: ArrayLike<number>;
  /** The shape of the value. */
  readonly shape: readonly number[];
  readonly rowsOfSample: number;
  /** Labels of the rows, if they were asked for. */
  readonly labels: ArrayLike<number>;
  /** Above 0 where a place counts; undefined if all do. */
  readonly mask: ArrayLike<number> | undefined;
}

/** Samples per run, where the model and the caller leave that open. */
const usualBatch = 64;

/** Name of the input for the labels of the dataset. */
const labelsName = "labels";

/**
 * Runs a model in inference form over a dataset, batch by batch: stored statistics, no Dropout, no penalty, and nothing that the
 * values do not need.
 * @param labelled - whether the objectives' labels are read too
 * @throws SorthError when samples or labels do not fit the model, or the model cannot be run
 */
export async function* modelResults(
  model: Model,
  dataset: Dataset,
  { wanted, labelled }: { readonly wanted: readonly ReadValue[]; readonly labelled: boolean },
  options: ModelRunOptions,
  runtime: TrainerRuntime,
): AsyncGenerator<BatchOfResults, void, undefined> {
  checkNumber("batch", options.batch, count);
  checkNumber("the number of threads", options.threads, threadCount);
  const unlabelled = wanted.some(({ labels, objective }) => labels === undefined && !objective?.labels.own);
  if (labelled && dataset.y.type === "none" && unlabelled) {
    throw new DataError(`${dataset.name} has no labels, and an evaluation needs them`);
  }
  checkNoArtifact(graphOf(model));
  const inference = await inferenceGraph(model, wanted, (whole) =>
    batchFor(whole, options.batch, dataset.size),
  );
  const { graph, batch } = inference;
  const backend = backendNamed(options.backend, runtime.backends);
  const readElsewhere = wanted.flatMap(({ labels, mask }) => [labels ?? [], mask ?? []].flat());
  const told = feedsOfGraph(graph, dataset, batch, { ...options, readElsewhere });
  const dims = lengthsOf(graph, told);
  const { probe } = runtime;
  const values = await withSamplesFirst(graph, model, inference.values, { batch, dims, probe });
  const fixed = await fitToBackend(graph, backend.name, { batch, dims }, runtime);
  const sessions: ForwardSession[] = [];
  const open = async (graph: Graph): Promise<ForwardSession> => {
    const session = await backend.openForward(modelOf(graph, model), options);
    sessions.push(session);
    return session;
  };
  const session = await open(graph);
  try {
    const shapes = await firstResults(session, told, values);
    const read = wanted.map((one, i) => {
      const shape = shapes[i] as readonly number[];
      const value = values[i] as Value;
      if (one.objective && shape.length === 0) {
        throw new UsageError(
          `"${value.name}" is one number for all samples of a batch: name the value that answers for each of them (--prediction)`,
        );
      }
      const ports = labelled && one.objective ? labelPorts(graph, dataset, one, { shape, batch }) : [];
      return { value, shape, ports };
    });
    const silent = { ...options, onMessage: undefined };
    const own = new Set(graph.inputs.map(({ name }) => name));
    const ownOf = (feeds: DataFeeds) => new Map([...feeds.tensors()].filter(([name]) => own.has(name)));
    const added = new Map(read.flatMap(({ ports }) => ports).map((port) => [port.name, port]));
    const ports = [...added.values()].filter(({ name }) => !own.has(name));
    const built = async (dims: Readonly<Record<string, number>>) => {
      const shorter = await inferenceGraph(model, wanted, () => batch);
      await withSamplesFirst(shorter.graph, model, shorter.values, { batch, dims, probe });
      await fitToBackend(shorter.graph, backend.name, { batch, dims }, runtime);
      return shorter.graph;
    };
    const lengths = fixed
      ? { model, dims, built, opened: async (one: Graph) => (one === graph ? session : open(one)) }
      : undefined;
    const inBuckets =
      options.buckets && (await bucketsOf(dataset, { ...options, graph, session, read, lengths }));
    const terms = wanted.map((one, i) => ({ ...one, result: values[i]?.name ?? "" }));
    const readers = wanted.map((one, i) => ({ ...one, shape: shapes[i] }));
    const watched = labelled ? watchedLabels(dataset, readers, batch) : dataset;
    const make = (): DataFeeds => feedsOfGraph(graph, watched, batch, silent, ports);
    const batches: EvaluationBatch[] = [...evaluationBatches(dataset, batch, false, inBuckets?.order)];
    for await (const { feeds, indices, count: counted } of filledBatches(batches, make(), make)) {
      options.signal?.throwIfAborted();
      if (indices === batches[0]?.indices) await inBuckets?.check(ownOf(feeds), labelled ? terms : undefined);
      const results = await (inBuckets ?? session).run(ownOf(feeds));
      yield {
        samples: indices.subarray(0, counted),
        values: read.map(({ value, shape, ports: [labels, mask] }) => ({
          ...{ shape, rowsOfSample: (shape[0] ?? batch) / batch },
          scores: results.get(value.name)?.numbers() ?? [],
          labels: labels ? feeds.labelsOf(labels.name) : [],
          mask: mask && feeds.labelsOf(mask.name),
        })),
      };
    }
  } finally {
    for (const one of sessions) await one.release();
  }
}

/** What makes graphs and sessions of other lengths, where a backend's forms have the lengths in them. */
interface FixedLengths {
  readonly model: Model;
  readonly dims: Readonly<Record<string, number>>;
  readonly built: (dims: Readonly<Record<string, number>>) => Promise<Graph>;
  readonly opened: (graph: Graph) => Promise<ForwardSession>;
}

/**
 * Texts in buckets. Where the graph leaves their length open, one session runs them all; else each length has a graph of its own.
 * Undefined where none is short.
 */
async function bucketsOf(
  dataset: Dataset,
  {
    buckets = [],
    graph,
    session,
    read,
    lengths,
    onMessage,
  }: Pick<ModelRunOptions, "buckets" | "onMessage"> & {
    readonly graph: Graph;
    readonly session: ForwardSession;
    readonly read: readonly { readonly value: Value; readonly shape: readonly number[] }[];
    readonly lengths: FixedLengths | undefined;
  },
): Promise<BucketForward | undefined> {
  const { inBuckets, inFixedBuckets } = await import("./bucket-forward.ts");
  const shapes = new Map(read.map(({ value, shape }) => [value.name, shape]));
  if (lengths) {
    const inputsOf = ({ inputs }: Graph) => inputs.map(({ name, shape = [] }) => ({ name, shape }));
    return inFixedBuckets(dataset, buckets, { ...lengths, whole: graph, inputsOf, shapes, onMessage });
  }
  const cut = new Set(
    graph.inputs.flatMap((input) => {
      const { name, declared = [] } = input;
      const isFree = typeof declared.at(-1) !== "number" && declaredBatchAxis(input) < declared.length - 1;
      return isFree ? [name] : [];
    }),
  );
  return inBuckets(dataset, buckets, { ...{ cut, shapes, onMessage }, open: async () => ({ session, cut }) });
}

/** The lengths of the axes that a model leaves open and a dataset fixes. */
function lengthsOf(graph: Graph, feeds: DataFeeds): Record<string, number> {
  const fed = feeds.tensors();
  const lengths = graph.inputs.flatMap((input) =>
    (fed.get(input.name)?.dims ?? []).flatMap((length, axis): [string, number][] => {
      const declared = input.declared?.[axis];
      if (typeof declared === "number" || axis === declaredBatchAxis(input)) return [];
      return [[declared ?? `${input.name}.${axis}`, length]];
    }),
  );
  return Object.fromEntries(lengths);
}

/**
 * Brings operators that a backend lacks, or computes wrongly, into other forms, or refuses them.
 * @returns whether the lengths of the data are in the graph from then on
 */
async function fitToBackend(
  graph: Graph,
  backend: BackendName,
  { batch, dims }: { readonly batch: number; readonly dims: Readonly<Record<string, number>> },
  { probe }: TrainerRuntime,
): Promise<boolean> {
  if (mayBeMiscomputed(graph))
    await (await import("../passes/training/sidestep-faults.ts")).sidestepFaultsOf(graph, probe, batch);
  const passes = await runForms(backend, probe);
  if (passes.length === 0) return false;
  await inferShapes(graph, probe, { batch, dims, open: true });
  await runPasses(passes, graph, { emit: new Emit(graph, { prefix: stepPrefix }), probe });
  return true;
}

/** The inputs through which an objective's labels and mask are read, after a check of the labels. */
function labelPorts(
  graph: Graph,
  dataset: Dataset,
  { objective, ...term }: ReadValue,
  { shape, batch }: { readonly shape: readonly number[]; readonly batch: number },
): FeedPort[] {
  if (!objective) return [];
  const inputs = graph.inputs.map(({ name }) => name);
  const labelled = datasetFor(dataset, term, inputs, { objective, prediction: shape });
  checkLabels(labelled, { objective, prediction: shape, batch });
  const port = (name: string, type: DataTypeName, of: readonly number[]): FeedPort => ({
    ...{ name, type, shape: of, batchAxis: 0 },
  });
  const { type, shape: labelShape, own } = objective.labels;
  const made = term.labels === undefined && own ? { own: own(shape) } : {};
  const labels = { ...port(term.labels ?? labelsName, type, labelShape(shape)), ...made };
  if (term.mask === undefined || !objective.maskShape) return [labels];
  return [labels, port(term.mask, "float", objective.maskShape(shape))];
}

/** The graph that computes values of a model in inference form, without former tokens. */
async function inferenceGraph(
  model: Model,
  wanted: readonly ReadValue[],
  batchOf: (graph: Graph) => number,
): Promise<{ readonly graph: Graph; readonly values: readonly Value[]; readonly batch: number }> {
  const graph = graphOf(model);
  seedDraws(graph);
  const values = inferenceOf(graph, wanted);
  const batch = batchOf(graph);
  if (mayHaveCache(graph)) {
    const { emptied } = await import("../passes/training/empty-cache.ts");
    emptied(graph, { batch });
  }
  return { graph, values, batch };
}

/** Leaves in a graph what values need, in inference form. @returns the values */
function inferenceOf(graph: Graph, wanted: readonly ReadValue[]): Value[] {
  const block = blockOf(graph);
  if (block) removeBlock(graph, block);
  leaveTrainingMode(graph);
  const values = wanted.map(({ objective, output }) =>
    objective ? choosePrediction(graph, objective, output).value : outputOf(graph, output),
  );
  graph.outputs.splice(0, Infinity, ...new Set(values));
  graph.pruneInputs();
  return values;
}

/** @throws UsageError if there is no such value */
function outputOf(graph: Graph, name: string | undefined): Value {
  const named = name === undefined ? undefined : graph.value(name);
  const first = graph.outputs.find(({ type }) => type !== undefined && isFloat(type)) ?? graph.outputs[0];
  const found = name === undefined ? first : named;
  if (found) return found;
  const names = graph.outputs.map((output) => output.name).join(", ");
  throw new UsageError(`the model has no value "${name}"; its outputs are ${names}`);
}

/** Samples of one run: what the model fixes, or what the caller asks for. @throws UsageError if these differ */
export function batchFor(graph: Graph, asked: number | undefined, samples: number): number {
  const [own] = fixedBatches(fedInputs(graph));
  if (own === undefined) return asked ?? Math.min(usualBatch, samples);
  if (asked === undefined || asked === own) return own;
  throw new UsageError(`the model fixes its batch size at ${own}: use --batch ${own}, or leave it out`);
}

/** The shapes of values. @throws UsageError for one that is no tensor, or whose rows are no samples */
async function firstResults(
  session: ForwardSession,
  feeds: DataFeeds,
  values: readonly Value[],
): Promise<(readonly number[])[]> {
  await feeds.fill(new Uint32Array(feeds.batch));
  const results = await session.run(feeds.tensors());
  return values.map(({ name }) => {
    const dims = results.get(name)?.dims;
    if (!dims) throw new UsageError(`"${name}" is no tensor: name another value (--prediction)`);
    const rows = dims[0] ?? feeds.batch;
    if (rows % feeds.batch === 0) return dims;
    throw new UsageError(
      `"${name}" has ${rows} rows for ${feeds.batch} samples: name another value (--prediction)`,
    );
  });
}
