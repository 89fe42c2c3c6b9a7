import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { traceParameter } from "./trace-parameter.ts";

/** An Einsum that is a layer: which indices of its equation are rows, which are summed, and which count units. */
export interface EinsumLayer {
  /** The input that is the weight. */
  readonly weightInput: 0 | 1;
  /** Indices of data, weight and result, one letter each, in order. */
  readonly terms: { readonly data: string; readonly weight: string; readonly result: string };
  /** Whether the data and the result begin with any number of further axes. */
  readonly open: boolean;
  /** Indices of data and result, in the order of the data. */
  readonly rows: string;
  /** Indices of data and weight that the result lacks, in the order of the data. */
  readonly summed: string;
  /** Indices of weight and result, in the order of the result. */
  readonly units: string;
  /** The lengths of the weight's indices. */
  readonly lengths: ReadonlyMap<string, number>;
}

/** Reads an Einsum of data and a parameter. @returns the reason if it is not a layer with units of its own */
export function einsumLayer(graph: Graph, node: Node): EinsumLayer | string {
  const found = node.inputs.findIndex((input) => input && traceParameter(graph, input));
  const weightInput = found === 1 ? 1 : 0;
  const weight = node.inputs[weightInput] as Value;
  const other = node.inputs[1 - weightInput];
  if (node.inputs.length !== 2 || !other) return "an Einsum of other than two operands";
  if (traceParameter(graph, other)) return "both operands are parameters";
  const terms = termsOf(node.string("equation", "").replaceAll(" ", ""), weightInput);
  if (!terms) return "an Einsum in a form whose units cannot be told: give its indices, with ->";
  const { data, weight: own, result, open } = terms;
  if ([data, own, result].some((term) => new Set(term).size < term.length))
    return "an Einsum that reads a diagonal";
  const stacked = [...own].find((index) => data.includes(index) && result.includes(index));
  if (stacked) return `its weight is a stack of matrices, one for each "${stacked}" of the data`;
  const rows = [...data].filter((index) => result.includes(index)).join("");
  const summed = [...data].filter((index) => own.includes(index)).join("");
  const units = [...result].filter((index) => own.includes(index)).join("");
  if (rows.length + summed.length < data.length || summed.length + units.length < own.length)
    return "an Einsum that sums over an index of one operand alone";
  if (summed === "") return "an Einsum that sums over no index of its weight";
  if (units === "") return "one unit has no pairs";
  const dims = weight.initializer?.dims ?? weight.shape;
  if (dims?.length !== own.length) return `the shape of its weight "${weight.name}" is not known`;
  const isPlain =
    data === rows + summed && result === rows + units && summed.length === 1 && units.length === 1;
  if (open && !isPlain) return "an Einsum with any number of axes (…) in a form that MatMul does not have";
  const lengths = new Map([...own].map((index, axis) => [index, dims[axis] as number]));
  return { weightInput, terms: { data, weight: own, result }, open, rows, summed, units, lengths };
}

/** The terms of an equation with two operands; undefined for another, and for one without its result. */
function termsOf(equation: string, weightInput: 0 | 1) {
  const [, first = "", second = "", out = ""] =
    /^((?:\.{3})?[a-z]*),((?:\.{3})?[a-z]*)->((?:\.{3})?[a-z]*)$/i.exec(equation) ?? [];
  const [data, weight] = weightInput === 1 ? [first, second] : [second, first];
  const isOpen = (term: string) => term.startsWith("...");
  if (!first || !second || isOpen(weight) || isOpen(data) !== isOpen(out)) return undefined;
  return { data: data.replace("...", ""), weight, result: out.replace("...", ""), open: isOpen(data) };
}
