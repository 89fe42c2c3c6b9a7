import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import { foldedFrom, isAnonymous } from "./exporter-names.ts";
import { namesOfValue } from "./known-names.ts";
import { matchesAny } from "./name-patterns.ts";
import { isFilled, numbersOf } from "./number-signs.ts";
import { judgeParameter } from "./parameters.ts";
import { Readings } from "./readings.ts";

/** An initializer that holds the numbers of another one in another layout. Exporters write tied and repeated weights this way. */
export interface Copy {
  readonly name: string;
  /** The parameter. */
  readonly of: string;
  readonly dims: readonly number[];
  /** Rows of the parameter as a matrix, if the copy is its transpose; 0 if the order of numbers is the same. */
  readonly rows: number;
  /** The parameter's numbers, if the file holds only the repeated form. */
  readonly made: Tensor | undefined;
  /** The copy's shape before it was repeated, if it is not that of the parameter. */
  readonly once?: readonly number[];
}

/** Options of {@link findCopies}. */
export interface CopyOptions {
  /** Tie two equal tensors of the same shape only if this matches, because layers that were initialized alike are equal too. */
  readonly tie?: RegExp;
  /** A matching tensor keeps its own numbers. */
  readonly untie?: RegExp;
}

/** Weights that the exporter wrote a second time, transposed or reshaped, and parameters that it repeated for every sample. */
export const findCopies = (graph: Graph, options: CopyOptions = {}): Copy[] => [
  ...findRepeated(graph, options),
  ...findLaidOut(graph, options),
];

/** The numbers of a copy. */
export function copied({ name, dims, rows, once }: Copy, parameter: Tensor): Tensor {
  const numbers = numbersOf(parameter);
  const length = elementCount(dims);
  const at = (i: number): number => {
    if (rows > 0) return (i % rows) * (length / rows) + Math.floor(i / rows);
    return length === parameter.size ? i : repeatedIndex(i, dims, once ?? parameter.dims);
  };
  const filled = Float64Array.from({ length }, (_, i) => numbers[at(i)] ?? 0);
  return parameter.type === "double"
    ? Tensor.of(name, "double", dims, filled)
    : Tensor.float(name, dims, filled);
}

/** Maps an index of an expanded tensor to the index in the tensor it was expanded from, of the same rank. */
function repeatedIndex(index: number, to: readonly number[], from: readonly number[]): number {
  let place = 0;
  let stride = 1;
  let rest = index;
  for (let axis = to.length - 1; axis >= 0; axis--) {
    const [wide = 1, narrow = 1] = [to[axis], from[axis]];
    if (narrow > 1) place += (rest % wide) * stride;
    rest = Math.floor(rest / wide);
    stride *= narrow;
  }
  return place;
}

/** Parameters that the exporter expanded, such as `cls` from [1, 1, 8] to [batch, 1, 8]. */
function findRepeated(graph: Graph, { untie }: CopyOptions): Copy[] {
  const readings = new Readings(graph);
  // A parameter that is stored in two repeated forms is one, if both hold the same numbers.
  const added = new Map<string, Tensor>();
  return graph.initializers.flatMap((value): Copy[] => {
    const tensor = value.initializer;
    if (!tensor || !isFloat(value.type) || value.type === "float16" || value.type === "bfloat16") return [];
    if (foldedFrom(value).length === 0 || value.uses.size === 0 || tensor.size > 1 << 24) return [];
    const dims = tensor.dims.map((dim, axis) => (isRepeated(tensor, axis) ? 1 : dim));
    if (dims.every((dim, axis) => dim === tensor.dims[axis]) || isFilled(tensor)) return [];
    if (untie && matchesAny(untie, namesOfValue(value, readings))) return [];
    const sources = foldedFrom(value);
    const source = (sources.length === 1 && sources[0]) || "";
    const known = graph.value(source)?.initializer ?? added.get(source);
    const made = Tensor.float("", dims, narrowed(tensor, dims));
    const same = known && known.size === made.size && equal(numbersOf(known), numbersOf(made), 0);
    const free = source !== "" && !graph.value(source) && !added.has(source);
    const name = same || free ? source : `${value.name}/once`;
    const copy = { name: value.name, of: name, dims: tensor.dims, rows: 0 };
    if (same) return [{ ...copy, made: undefined, ...(`${known.dims}` !== `${dims}` && { once: dims }) }];
    added.set(name, made);
    return [{ ...copy, made: made.named(name) }];
  });
}

function isRepeated(tensor: Tensor, axis: number): boolean {
  const numbers = numbersOf(tensor);
  const length = tensor.dims[axis] ?? 1;
  const step = elementCount(tensor.dims.slice(axis + 1));
  if (length < 2) return false;
  for (let i = 0; i < numbers.length; i++) {
    const place = Math.floor(i / step) % length;
    if (numbers[i] !== numbers[i - place * step]) return false;
  }
  return true;
}

function narrowed(tensor: Tensor, dims: readonly number[]): number[] {
  const numbers = numbersOf(tensor);
  const strides = tensor.dims.map((_, axis) => elementCount(tensor.dims.slice(axis + 1)));
  return Array.from({ length: elementCount(dims) }, (_, i) => {
    let [rest, place] = [i, 0];
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      const dim = dims[axis] ?? 1;
      place += (rest % dim) * (strides[axis] ?? 0);
      rest = Math.floor(rest / dim);
    }
    return numbers[place] ?? 0;
  });
}

/** Pairs of matrices with the same numbers, one of which the exporter made. */
function findLaidOut(graph: Graph, { tie, untie }: CopyOptions): Copy[] {
  const readings = new Readings(graph);
  const groups = new Map<string, Value[]>();
  for (const value of graph.initializers) {
    const { type, initializer, uses } = value;
    const matrix = (initializer?.dims.filter((dim) => dim > 1).length ?? 0) > 1;
    if ((type !== "float" && type !== "double") || !initializer || !matrix || uses.size === 0) continue;
    const key = `${type} ${initializer.size}`;
    groups.set(key, [...(groups.get(key) ?? []), value]);
  }
  const copies: Copy[] = [];
  for (const group of groups.values()) {
    const taken = new Set<Value>();
    // Tensors with names from the source come first: they are the parameters.
    const sorted = [...group].sort((a, b) => Number(isAnonymous(a)) - Number(isAnonymous(b)));
    sorted.forEach((of, i) => {
      if (taken.has(of) || !judgeParameter(of, readings).role) return;
      for (const value of sorted.slice(i + 1)) {
        if (taken.has(value) || !(tie || isAnonymous(value))) continue;
        const names = tie || untie ? [of, value].flatMap((one) => namesOfValue(one, readings)) : [];
        if (untie && matchesAny(untie, names)) continue;
        const tied = tie !== undefined && matchesAny(tie, names);
        // Decided before the numbers are compared, because these may have to be read from a file.
        if (!tied && !isAnonymous(value)) continue;
        const rows = layoutOf(of.initializer as Tensor, value.initializer as Tensor);
        if (rows === undefined) continue;
        const alike = `${of.initializer?.dims}` === `${value.initializer?.dims}` && rows === 0;
        if (alike && !tied) continue;
        taken.add(value);
        copies.push({
          ...{ name: value.name, of: of.name, dims: value.initializer?.dims ?? [], rows, made: undefined },
        });
      }
    });
  }
  return copies;
}

/** How a copy is laid out: 0 for the same order, n for the transpose of n rows; undefined if it is no copy. */
function layoutOf(of: Tensor, copy: Tensor): number | undefined {
  // The first number is the same in every layout: of most pairs, only the first row is read.
  if (numbersOf(of.beginning(1))[0] !== numbersOf(copy.beginning(1))[0]) return undefined;
  const [a, b] = [numbersOf(of), numbersOf(copy)];
  const wide = copy.dims.filter((dim) => dim > 1);
  // A matrix [columns, rows] may hold any tensor whose leading axes are the rows.
  const rows = wide.length === 2 ? (wide[1] ?? 0) : 0;
  const leading = of.dims.some((_, axis) => elementCount(of.dims.slice(0, axis)) === rows);
  return [0, ...(leading && rows > 1 ? [rows] : [])].find((layout) => equal(a, b, layout) && !isFilled(of));
}

function equal(a: ArrayLike<number>, b: ArrayLike<number>, rows: number): boolean {
  if (a.length !== b.length) return false;
  const columns = a.length / rows;
  for (let i = 0; i < b.length; i++) {
    const place = rows === 0 ? i : (i % rows) * columns + Math.floor(i / rows);
    if (a[place] !== b[i]) return false;
  }
  return true;
}
