import type { Probe } from "../analysis/probe.ts";
import { dependingOnData } from "../analysis/trace-parameter.ts";
import { messageOf, SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { ancestorsOf } from "../graph/reach.ts";
import { tap } from "../inject/tap.ts";
import { isFloat } from "../onnx/data-types.ts";
import type { Model } from "../onnx/model.ts";
import { randomTensor } from "../onnx/random-tensors.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import { Random } from "../random.ts";
import type { BatchAxis } from "./places.ts";

/** How many samples are compared together. */
export const comparedSamples = 3;

/** Largest difference that two ways to compute a value may have, relative to its largest number. */
const allowed = 1e-4;

/**
 * Largest difference that an output may have, relative to how far the samples' own results lie apart. Above it the output does not
 * tell whose result it is (a saturated classifier gives all samples the same), so that the values inside are compared too.
 */
const telling = 0.02;

/** A value for all samples beside those of each. */
interface Difference {
  /** How far they are from each other, relative to the largest number. */
  readonly difference: number;
  /** How far the samples' own results are from each other, likewise. */
  readonly spread: number;
  readonly batchAxis: number | undefined;
}

/** Whether a value shows whose sample it belongs to. */
const tells = (found: Difference | string): boolean =>
  typeof found !== "string" && found.difference < found.spread * telling;

type Results = ReadonlyMap<string, Tensor>;

/** The results of a model for each of several samples, and of its freed form for all at once. */
interface Compared {
  readonly alone: readonly Results[];
  readonly together: Results;
}

/** What samples are made of: the axes that count them, and the shapes of the inputs at one sample. */
interface Samples {
  readonly inputs: readonly BatchAxis[];
  readonly shapes: ReadonlyMap<string, readonly number[]>;
}

/** The largest difference that was found, and the shapes of the outputs for all samples at once. */
export interface SampleComparison {
  readonly difference: number;
  readonly outputs: ReadonlyMap<
    string,
    { readonly shape: readonly number[]; readonly batchAxis: number | undefined }
  >;
}

/** Whether a model runs on one sample of these shapes. */
export async function runsAlone(
  { original, graph }: { readonly original: Model; readonly graph: Graph },
  { inputs, shapes }: Samples,
  probe: Probe,
): Promise<boolean> {
  const [feed = new Map()] = feedsFor(graph, inputs, shapes).alone;
  try {
    await probe.run(tap(original, []), feed, { optimize: false });
    return true;
  } catch {
    return false;
  }
}

/**
 * Checks that a freed model gives for several samples at once what the original gives for each of them.
 * @throws SorthError that names the first value that differs
 */
export async function compareSamples(
  models: { readonly original: Model; readonly freed: Model; readonly graph: Graph },
  { inputs, shapes }: Samples,
  probe: Probe,
): Promise<SampleComparison> {
  const feeds = feedsFor(models.graph, inputs, shapes);
  const run = async (values: readonly string[]): Promise<Compared> => {
    const plain = { optimize: false };
    const original = tap(models.original, values);
    const alone: Results[] = [];
    for (const feed of feeds.alone) alone.push(await probe.run(original, feed, plain));
    try {
      return { alone, together: await probe.run(tap(models.freed, values), feeds.together, plain) };
    } catch (error) {
      throw refused(`with ${comparedSamples} samples ONNX Runtime cannot run it: ${messageOf(error)}`);
    }
  };
  const names = models.graph.outputs.map(({ name }) => name);
  const compared = await run([]);
  const found = names.map((name) => [name, differenceOf(name, compared)] as const);
  const wrong = found.find(([, one]) => typeof one === "string" || !(one.difference <= allowed));
  if (wrong) throw refused(await firstDifference(models.graph, run, wrong[0]));
  const data = dependingOnData(models.graph);
  const alike = found.flatMap(([name, one]) => {
    const value = models.graph.value(name);
    return value && data.has(value) && !tells(one) ? [value] : [];
  });
  if (alike.length > 0) await checkBehind(models.graph, run, alike);
  const differences = found.flatMap(([name, one]) => (typeof one === "string" ? [] : [[name, one] as const]));
  return {
    difference: Math.max(0, ...differences.map(([, { difference }]) => difference)),
    outputs: new Map(
      differences.map(([name, { batchAxis }]) => [
        name,
        { shape: compared.together.get(name)?.dims ?? [], batchAxis },
      ]),
    ),
  };
}

const refused = (why: string): SorthError =>
  new SorthError(
    `the batch of the model cannot be freed: ${why}; export it with a free batch dimension (dynamic_axes or dynamic_shapes in PyTorch)`,
  );

/** The floats that nodes compute, in order. */
const floatsOf = (nodes: readonly Node[]): { readonly node: Node; readonly value: Value }[] =>
  nodes.flatMap((node) =>
    node.outputs.flatMap((value) => (value && isFloat(value.type) ? [{ node, value }] : [])),
  );

/**
 * Checks outputs that are nearly the same for all samples, as those of a saturated classifier: the last values behind them that
 * tell the samples apart must be right.
 * @throws SorthError if one is not, or none tells them apart
 */
async function checkBehind(
  graph: Graph,
  run: (values: readonly string[]) => Promise<Compared>,
  outputs: readonly Value[],
): Promise<void> {
  const inner = floatsOf(graph.sorted());
  const compared = await run(inner.map(({ value }) => value.name));
  for (const output of outputs) {
    const behind = ancestorsOf([output]);
    const last = inner.findLast(({ node, value }) => {
      const found = behind.has(node) && differenceOf(value.name, compared);
      return found && (typeof found === "string" || tells(found) || found.difference > allowed);
    });
    if (!last) {
      throw refused(
        `its output "${output.name}" is the same for all random samples, so that nothing can be checked`,
      );
    }
    const found = differenceOf(last.value.name, compared);
    if (typeof found === "string" || found.difference > allowed)
      throw refused(await firstDifference(graph, run, output.name));
  }
}

/** Names the first value of the model whose numbers for several samples are not those of each sample. */
async function firstDifference(
  graph: Graph,
  run: (values: readonly string[]) => Promise<Compared>,
  output: string,
): Promise<string> {
  const inner = floatsOf(graph.sorted());
  const compared = await run(inner.map(({ value }) => value.name));
  for (const { node, value } of inner) {
    const found = differenceOf(value.name, compared);
    if (typeof found !== "string" && found.difference <= allowed) continue;
    return `${node.op} "${node.label}" mixes samples or works on one alone (its result for ${comparedSamples} samples is not that of each)`;
  }
  return `its output "${output}" for ${comparedSamples} samples is not that of each`;
}

/** Random numbers for each sample, and for all of them joined on the batch axis. */
function feedsFor(
  graph: Graph,
  inputs: readonly BatchAxis[],
  shapes: ReadonlyMap<string, readonly number[]>,
): { readonly alone: readonly Results[]; readonly together: Results } {
  const random = new Random("samples of free-batch");
  const alone = Array.from({ length: comparedSamples }, () => new Map<string, Tensor>());
  const together = new Map<string, Tensor>();
  for (const [name, shape] of shapes) {
    const type = graph.value(name)?.type;
    if (!type) continue;
    const axis = inputs.find(({ input }) => input.name === name)?.axis;
    const dims = shape.map((length, index) => (index === axis ? comparedSamples : length));
    const all = randomTensor(random, name, type, dims);
    together.set(name, all);
    alone.forEach((feeds, index) => {
      feeds.set(name, axis === undefined ? all : partOf(all, axis, index, 1));
    });
  }
  return { alone, together };
}

/** A part of a tensor along an axis: the `index`-th of its stretches of that length. */
function partOf({ name, type, dims, data }: Tensor, axis: number, index: number, length: number): Tensor {
  const inner = elementCount(dims.slice(axis + 1));
  const outer = elementCount(dims.slice(0, axis));
  const row = (dims[axis] ?? 1) * inner;
  const parts = Array.from({ length: outer }, (_, i) => {
    const start = i * row + index * length * inner;
    return data.slice(start, start + length * inner);
  });
  const taken = data.slice(0, outer * length * inner) as Float32Array;
  parts.forEach((part, i) => {
    taken.set(part as Float32Array, i * length * inner);
  });
  return Tensor.of(
    name,
    type,
    dims.map((dim, at) => (at === axis ? length : dim)),
    taken,
  );
}

/** Compares a value for all samples with those of each; or says that their shapes do not fit. */
function differenceOf(name: string, { alone, together }: Compared): Difference | string {
  const all = together.get(name);
  const own = alone[0]?.get(name);
  if (!all || !own || all.dims.length !== own.dims.length) return "another rank";
  const axes = all.dims.flatMap((dim, axis) => (dim === own.dims[axis] ? [] : [axis]));
  const [batchAxis] = axes;
  if (axes.length > 1) return "another shape";
  if (batchAxis !== undefined && all.dims[batchAxis] !== comparedSamples * (own.dims[batchAxis] ?? 0))
    return "another length";
  const largest = Math.max(1e-6, ...alone.map((one) => largestOf(one.get(name)?.numbers() ?? [])));
  let [difference, spread] = [0, 0];
  const first = own.numbers();
  alone.forEach((results, index) => {
    const wanted = results.get(name)?.numbers() ?? [];
    const part = batchAxis === undefined ? all : partOf(all, batchAxis, index, own.dims[batchAxis] ?? 1);
    part.numbers().forEach((number, at) => {
      const other = wanted[at] ?? Number.NaN;
      spread = Math.max(spread, Math.abs(other - (first[at] ?? 0)) / largest || 0);
      if (Object.is(number, other)) return;
      const found = Math.abs(number - other) / largest;
      difference = Math.max(difference, Number.isNaN(found) ? Number.POSITIVE_INFINITY : found);
    });
  });
  return { difference, spread, batchAxis };
}

const largestOf = (numbers: readonly number[]): number =>
  numbers.reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 0);
