import {
  attention,
  bucketsText,
  checkLabels,
  type LabelledTerm,
  orderByLength,
  type TextBuckets,
  textBuckets,
} from "../data/buckets.ts";
import type { Dataset } from "../data/dataset.ts";
import { UsageError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import { type Shape, shapeText } from "../graph/shapes.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import type { EvaluationGraph } from "../programs/evaluation.ts";
import { lengthNames } from "./buckets.ts";
import type { Fed, ForwardSession } from "./step-session.ts";

interface EvaluatedLength {
  readonly graph: EvaluationGraph;
  readonly session: () => Promise<ForwardSession>;
}

/** By how much results may differ from those at the whole length, as a share of the highest number. */
const closeness = 1e-3;

/** The session of a length, and its inputs that have a number for each place. */
interface OpenedLength {
  readonly session: ForwardSession;
  readonly cut: ReadonlySet<string>;
}

/** A loss, and the result that it reads. */
interface Labelled extends LabelledTerm {
  readonly result: string;
}

/**
 * Puts the samples of a dataset into buckets, says how many each holds, and prepares runs of their lengths.
 * @param cut - the inputs of the model that have a number for each place, if their lengths are free
 * @returns undefined where no text is shorter than the whole length
 * @throws UsageError for data without padding, and for a model whose results depend on it
 */
export async function inBuckets(
  dataset: Dataset,
  lengths: readonly number[],
  {
    cut,
    open,
    shapes,
    onMessage,
  }: {
    readonly cut: ReadonlySet<string>;
    readonly open: (length: number) => Promise<OpenedLength>;
    readonly shapes: ReadonlyMap<string, Shape>;
    readonly onMessage?: ((message: string) => void) | undefined;
  },
): Promise<BucketForward | undefined> {
  const texts = await textBuckets(dataset, lengths);
  checkReadsMask(cut, lengths.at(-1) ?? 0);
  onMessage?.(bucketsText(dataset, texts));
  return texts.bucketOf.every((bucket) => bucket === lengths.length - 1)
    ? undefined
    : new BucketForward(dataset, texts, open, shapes);
}

/**
 * {@link inBuckets} for graphs that have one length each.
 * @param whole - the graph of the whole length
 * @param built - the graph for other lengths of the model's free dimensions
 * @param opened - opens its session
 */
export async function inFixedBuckets<G>(
  dataset: Dataset,
  lengths: readonly number[],
  {
    model,
    dims = {},
    whole,
    built,
    opened,
    inputsOf,
    ...others
  }: {
    readonly model: Model;
    readonly dims: Readonly<Record<string, number>> | undefined;
    readonly whole: G;
    readonly built: (dims: Readonly<Record<string, number>>) => Promise<G>;
    readonly opened: (graph: G) => Promise<ForwardSession>;
    readonly inputsOf: (graph: G) => readonly { readonly name: string; readonly shape: Shape }[];
    readonly shapes: ReadonlyMap<string, Shape>;
    readonly onMessage?: ((message: string) => void) | undefined;
  },
): Promise<BucketForward | undefined> {
  const most = lengths.at(-1) ?? 0;
  const names = lengthNames(model, { dims }, most);
  const ofWhole = new Map(inputsOf(whole).map(({ name, shape }) => [name, shape.join()]));
  const open = async (length: number): Promise<OpenedLength> => {
    const own = { ...dims, ...Object.fromEntries(names.map((name) => [name, length])) };
    const graph = length === most ? whole : await built(own);
    const changed = inputsOf(graph).filter(({ name, shape }) => ofWhole.get(name) !== shape.join());
    return { session: await opened(graph), cut: new Set(changed.map(({ name }) => name)) };
  };
  const known = new Map<number, Promise<OpenedLength>>();
  const openOnce = (length: number) => {
    const found = known.get(length) ?? open(length);
    known.set(length, found);
    return found;
  };
  return inBuckets(dataset, lengths, { ...others, cut: new Set(ofWhole.keys()), open: openOnce });
}

/**
 * Texts in buckets, for an evaluation beside a training run.
 * @param whole - the graph of the whole length
 * @returns undefined where the whole length is to be evaluated: for a loss that compares the samples of a batch, for data without
 * padding, and for labels of padding that count
 */
export async function evaluatedInBuckets<G extends EvaluatedLength>(
  dataset: Dataset,
  lengths: readonly number[],
  parts: {
    readonly model: Model;
    readonly dims: Readonly<Record<string, number>> | undefined;
    readonly whole: G;
    readonly built: (dims: Readonly<Record<string, number>>) => Promise<G>;
  },
): Promise<BucketForward | undefined> {
  const { graph } = parts.whole;
  const predictions = graph.terms.map(({ prediction }) => prediction);
  if (graph.data || graph.loss !== undefined || !predictions.every((one) => one !== undefined))
    return undefined;
  try {
    const texts = await inFixedBuckets(dataset, lengths, {
      ...parts,
      opened: ({ session }) => session(),
      inputsOf: ({ graph: { model } }) =>
        graphOf(model).inputs.map(({ name, declared = [] }) => ({ name, shape: declared as Shape })),
      shapes: new Map(predictions.map(({ name, shape }) => [name, shape])),
    });
    await texts?.checkLabels(graph.terms);
    return texts;
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}

/** @throws UsageError for a model whose results depend on padding, or whose file fixes the length */
function checkReadsMask(cut: ReadonlySet<string>, most: number): void {
  if (cut.has(attention)) return;
  throw new UsageError(
    `the model has no input ${attention} with a free length, so that its results depend on the padding that buckets leave out, or need ${most} tokens: leave buckets out (--buckets)`,
  );
}

/**
 * Runs each batch of texts as far as its longest one goes: padding behind that is not computed. Results have the shapes of the
 * whole length, with zeros at the places that were left out.
 */
export class BucketForward {
  /** The samples by their lengths, so that batches hold texts of like lengths. */
  readonly order: Uint32Array;
  readonly #samples: Dataset;
  readonly #texts: TextBuckets;
  readonly #open: (length: number) => Promise<OpenedLength>;
  readonly #shapes: ReadonlyMap<string, Shape>;
  /** How many numbers one place has in results that have some for each, as far as shorter runs have shown. */
  readonly #ofPlaces = new Map<string, number>();

  /**
   * @param open - opens the session of a length on its first call
   * @param shapes - of the results at the whole length, by name
   */
  constructor(
    samples: Dataset,
    texts: TextBuckets,
    open: (length: number) => Promise<OpenedLength>,
    shapes: ReadonlyMap<string, Shape>,
  ) {
    this.order = orderByLength(texts);
    this.#samples = samples;
    this.#texts = texts;
    this.#open = open;
    this.#shapes = shapes;
  }

  async run(feeds: ReadonlyMap<string, Fed>): Promise<ReadonlyMap<string, Tensor>> {
    const length = this.#lengthOf(feeds);
    const { session, cut } = await this.#open(length);
    if (length === this.#most) return session.run(feeds);
    const shorter = [...feeds].map(([name, tensor]): [string, Fed] => [
      name,
      cut.has(name) ? cutPlaces(tensor as Tensor, length) : tensor,
    ]);
    const results = await session.run(new Map(shorter));
    return new Map([...results].map(([name, result]) => [name, this.#filled(name, result, length)]));
  }

  /** Opens the session of the longest texts. */
  async openLongest(): Promise<void> {
    await this.#open(this.#longest(this.order.length - 1));
  }

  /** @throws UsageError for labels of padding that count in one of the losses whose labels may lie at the places of texts */
  checkLabels(terms: readonly LabelledTerm[]): Promise<void> {
    return checkLabels(this.#samples, this.#texts, terms);
  }

  /**
   * Looks at the first batch, that of the shortest texts.
   * @param terms - the losses that count its labels; undefined where only answers are read
   * @throws UsageError for a model whose results depend on padding, for labels of padding that count, and for answers of padding
   */
  async check(feeds: ReadonlyMap<string, Tensor>, terms?: readonly Labelled[]): Promise<void> {
    await this.#compare(feeds);
    if (terms) return this.checkLabels(terms.filter(({ result }) => this.#ofPlaces.has(result)));
    const [name] = this.#ofPlaces.keys();
    if (name === undefined) return;
    throw new UsageError(
      `"${name}" has an answer for each place, also for those of padding: leave buckets out (--buckets)`,
    );
  }

  /**
   * Compares the results of a batch with those of the whole length, where there is no padding.
   * @throws UsageError for a model whose results depend on padding
   */
  async #compare(feeds: ReadonlyMap<string, Tensor>): Promise<void> {
    const length = this.#lengthOf(feeds);
    const most = this.#most;
    const mask = feeds.get(attention)?.numbers() ?? [];
    const found = await this.run(feeds);
    const expected = await (await this.#open(most)).session.run(feeds);
    for (const [name, tensor] of expected) {
      const numbers = tensor.numbers();
      const own = found.get(name)?.numbers() ?? [];
      const inner = this.#ofPlaces.get(name);
      const isPadding = (at: number) => {
        if (inner === undefined) return false;
        const text = Math.floor((at * mask.length) / (most * numbers.length));
        return mask[text * most + (Math.floor(at / inner) % most)] === 0;
      };
      let [highest, off] = [0, 0];
      for (const [at, number] of numbers.entries()) {
        if (isPadding(at)) continue;
        highest = Math.max(highest, Math.abs(number));
        off = Math.max(off, Math.abs(number - (own[at] ?? Number.NaN)));
      }
      if (off <= closeness * highest) continue;
      throw new UsageError(
        `the model's results depend on padding: "${name}" differs by ${off.toPrecision(2)} between ${length} and ${most} places: leave buckets out (--buckets)`,
      );
    }
  }

  get #most(): number {
    return this.#texts.lengths.at(-1) ?? 0;
  }

  /** The length of a sample's bucket. */
  #longest(at: number): number {
    const { lengths, bucketOf } = this.#texts;
    return lengths[bucketOf[this.order[at] ?? 0] ?? 0] ?? this.#most;
  }

  /** The first bucket that has room for all texts of a batch. */
  #lengthOf(feeds: ReadonlyMap<string, Fed>): number {
    const most = this.#most;
    let longest = 0;
    for (const [at, counts] of ((feeds.get(attention) as Tensor | undefined)?.numbers() ?? []).entries()) {
      if (counts !== 0) longest = Math.max(longest, (at % most) + 1);
    }
    return this.#texts.lengths.find((length) => length >= longest) ?? most;
  }

  /** A result with zeros at the places that were left out. */
  #filled(name: string, result: Tensor, length: number): Tensor {
    const { dims } = result;
    const whole = this.#shapes.get(name) ?? dims;
    if (whole.join() === dims.join()) return result;
    const most = this.#most;
    const [axis = 0, ...more] = dims.flatMap((dim, at) => (dim === whole[at] ? [] : [at]));
    if (more.length > 0 || (dims[axis] ?? 0) * most !== (whole[axis] ?? 0) * length) {
      throw new UsageError(
        `"${name}" has the shape ${shapeText(dims)} for ${length} places and ${shapeText(whole)} for ${most}, where no single axis counts the places: leave buckets out (--buckets)`,
      );
    }
    const inner = elementCount(dims.slice(axis + 1));
    this.#ofPlaces.set(name, inner);
    return resized(result, whole, { inner, from: length, to: most });
  }
}

/** An input with the first places of each text: they are its last axis. */
const cutPlaces = (tensor: Tensor, length: number): Tensor => {
  const { dims } = tensor;
  return resized(tensor, [...dims.slice(0, -1), length], {
    inner: 1,
    from: dims.at(-1) ?? length,
    to: length,
  });
};

/** A tensor with another number of places. @param inner - numbers of one place */
function resized(
  { name, type, data }: Tensor,
  dims: Shape,
  { inner, from, to }: { readonly inner: number; readonly from: number; readonly to: number },
): Tensor {
  const [before, after, kept] = [from * inner, to * inner, Math.min(from, to) * inner];
  const numbers = data as Float32Array;
  const made = new (numbers.constructor as Float32ArrayConstructor)(elementCount(dims));
  for (let row = 0; row * after < made.length; row++) {
    made.set(numbers.subarray(row * before, row * before + kept), row * after);
  }
  return Tensor.of(name, type, dims, made);
}
