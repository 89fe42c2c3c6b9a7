import type { Site, SiteOp } from "../../src/analysis/site-types.ts";
import { rules } from "../../src/autodiff/table.ts";
import { backward } from "../../src/autodiff/walk.ts";
import { type Attribute, int, ints } from "../../src/graph/attribute.ts";
import { Emit } from "../../src/graph/emit.ts";
import type { EmitOptions, Typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";
import { type DeclaredDim, Node } from "../../src/graph/node.ts";
import type { DataTypeName } from "../../src/onnx/data-types.ts";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { buildPenalties } from "../../src/penalties/build.ts";
import { type Draw, drawn } from "../../src/penalties/draws.ts";
import { addedTo } from "../../src/penalties/layer.ts";
import type { Penalty } from "../../src/penalties/penalty.ts";
import {
  convolutionOf,
  gathered,
  type Matrix,
  type PenaltyReference,
  type PlainLayer,
  positionsOf,
  responsePlaces,
  weightPlaces,
} from "../../src/penalties/plain-layer.ts";
import { resolvePlans } from "../../src/penalties/plan.ts";
import { runModel } from "../helpers/run-model.ts";

/** A layer whose response, weight and bias are inputs of a graph, and how a penalty is to be built for it. */
export interface LayerCase {
  readonly op?: SiteOp;
  /** Of the response. */
  readonly response: readonly number[];
  readonly unitAxis: number;
  /** Of the weight as the operator reads it; default [units, 1], read as one row a unit. */
  readonly weight?: readonly number[];
  /** Of what is added; default nothing. */
  readonly bias?: readonly number[];
  /** Default 1. */
  readonly weightInput?: 0 | 1;
  readonly groups?: number;
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** Default true. */
  readonly rowsFixed?: boolean;
  /** Of everything; default float. */
  readonly type?: DataTypeName;
  readonly opset?: number;
  readonly constants?: EmitOptions["constants"];
  /** Dimensions that the file declares for the response; default its shape. */
  readonly declared?: readonly DeclaredDim[];
}

/** Numbers of a layer, in the layouts of the case. */
export interface LayerData {
  readonly response: ArrayLike<number>;
  readonly weight: ArrayLike<number>;
  readonly bias?: ArrayLike<number>;
}

/** A penalty's value, and its gradients in the layouts of the case. */
export interface LayerResult {
  readonly value: number;
  readonly response: readonly number[];
  readonly weight: readonly number[];
  readonly bias: readonly number[];
}

/** Gemm's weight [units, fanIn] on the right, transposed; a convolution's geometry. */
export const attributesOf = {
  transposed: { transB: int(1) },
  convolution: (strides: readonly number[], dilations: readonly number[], group = 1) => ({
    ...{ strides: ints(strides), dilations: ints(dilations), group: int(group) },
  }),
};

/** A graph with the case's inputs, and a site over them as the analysis would describe it. */
export function siteOf(c: LayerCase): { graph: Graph; site: Site } {
  const graph = new Graph("layer", new Map([["", c.opset ?? 18]]));
  const type = c.type ?? "float";
  const units = c.response[c.unitAxis] ?? 0;
  const weightShape = c.weight ?? [units, 1];
  const response = graph.addInput("y", type, c.response, c.declared);
  const weight = graph.addInput("w", type, weightShape);
  const bias = c.bias && graph.addInput("b", type, c.bias);
  const op = c.op ?? "Gemm";
  const weightInput = c.weightInput ?? 1;
  // Not in the graph: nothing computes the response.
  const node = new Node({
    ...{ opType: op, outputs: [response] },
    inputs: weightInput === 1 ? [null, weight, bias ?? null] : [weight, null, bias ?? null],
    attributes: new Map(Object.entries(c.attributes ?? (c.weight ? {} : attributesOf.transposed))),
  });
  const groups = c.groups ?? 1;
  return {
    graph,
    site: {
      ...{ name: "layer", names: ["layer"], op, node, response, weight, weightInput, bias, units, groups },
      fanIn: elementCount(weightShape) / units,
      unitAxis: c.unitAxis,
      rows: elementCount(c.response) / units,
      rowsFixed: c.rowsFixed ?? true,
      freeAxes: c.rowsFixed === false ? freeAxes(c.declared) : [],
      quantized: false,
    },
  };
}

/** Axes whose length the file leaves open; without a declaration, the batch. */
const freeAxes = (declared: readonly DeclaredDim[] | undefined): number[] =>
  declared?.flatMap((dim, axis) => (typeof dim === "number" ? [] : [axis])) ?? [0];

/** How a case's graph is made. */
export interface GraphOptions {
  /** Whether gradients are outputs too; default true. */
  readonly gradients?: boolean;
  /** Whether closed forms are used; default true. Otherwise the value's nodes are differentiated. */
  readonly closed?: boolean;
  /** Numbers in the place of a penalty's random ones. */
  readonly draw?: (draw: Draw) => Float32Array;
  /** Whether ONNX Runtime may rewrite the graph; default true. */
  readonly optimize?: boolean;
}

/** The graph of a penalty: inputs y, w, b; outputs its value and, if asked for, its gradients. */
export function penaltyGraph(
  penalty: Penalty,
  c: LayerCase,
  options: GraphOptions = {},
): { graph: Graph; outputs: Readonly<Record<"value" | "y" | "w" | "b", string | undefined>>; site: Site } {
  const { graph, site } = siteOf(c);
  const g = new Emit(graph, { prefix: "sorth/", constants: c.constants ?? "initializers" });
  const { plans } = resolvePlans([penalty]);
  const numbers = options.draw ?? drawn;
  const draw = (wanted: Draw) => g.tensorConstant(Tensor.of("", "float", wanted.shape, numbers(wanted)));
  const [part] = buildPenalties(g, plans, [site], { tell: () => {}, draw });
  if (!part) throw new Error("the penalty does not take the layer");
  graph.addOutput(part.value);
  const inputs = [...graph.inputs];
  const slopes = (options.closed ?? true) ? part.slopes : undefined;
  const gradients = backward(graph, {
    wrt: options.gradients === false ? [] : inputs,
    seeds: slopes
      ? slopes.map(({ of, gradient }) => ({ value: of, gradient: () => gradient() }))
      : [{ value: part.value, gradient: () => g.scalar(1, part.value.type) }],
    ...{ rules, emit: g },
  });
  for (const gradient of new Set(gradients.values())) graph.addOutput(gradient);
  graph.prune();
  const nameOf = (name: string) =>
    gradients.get(graph.inputs.find((input) => input.name === name) as Typed)?.name;
  return { graph, site, outputs: { value: part.value.name, y: nameOf("y"), w: nameOf("w"), b: nameOf("b") } };
}

/** Runs the case's graph. Gradients that are absent are zeros. */
export async function runPenalty(
  penalty: Penalty,
  c: LayerCase,
  data: LayerData,
  options: GraphOptions = {},
): Promise<LayerResult> {
  const { graph, outputs, site } = penaltyGraph(penalty, c, options);
  const feeds: Record<string, Tensor> = {};
  const numbers = { y: data.response, w: data.weight, b: data.bias ?? [] };
  const shapes = { y: c.response, w: site.weight.shape ?? [], b: c.bias ?? [] };
  const used = graph.inputs.filter(({ uses }) => uses.size > 0);
  for (const name of ["y", "w", "b"] as const) {
    if (!used.some((input) => input.name === name)) continue;
    feeds[name] = tensorOf(name, c.type ?? "float", shapes[name], numbers[name]);
  }
  for (const input of [...graph.inputs]) if (!used.includes(input)) graph.removeInput(input);
  const { optimize = true } = options;
  const results = await runModel(graph, feeds, { optimize });
  const found = (name: string | undefined, count: number) =>
    name === undefined ? Array.from({ length: count }, () => 0) : (results[name]?.numbers() ?? []);
  return {
    value: results[outputs.value ?? ""]?.numbers()[0] ?? Number.NaN,
    response: found(outputs.y, numbers.y.length),
    weight: found(outputs.w, numbers.w.length),
    bias: found(outputs.b, numbers.b.length),
  };
}

function tensorOf(
  name: string,
  type: DataTypeName,
  dims: readonly number[],
  data: ArrayLike<number>,
): Tensor {
  if (type === "double") return Tensor.of(name, "double", dims, Float64Array.from(data));
  return Tensor.of(name, "float", dims, Float32Array.from(data));
}

/** The layer as plain arrays. */
export function plainLayer(c: LayerCase, data: LayerData): PlainLayer {
  const { site } = siteOf(c);
  const shape = site.weight.shape ?? [];
  const added = addedTo(site);
  return {
    groups: site.groups,
    responses: gathered(responsePlaces(c.response, site), data.response),
    weights: gathered(weightPlaces(shape, site), data.weight),
    bias: added && data.bias ? Array.from(data.bias, (b) => b * added.factor) : undefined,
    positions: positionsOf(c.response, site),
    convolution: convolutionOf(site, shape),
  };
}

/** The penalty's reference on the case, its gradients in the case's layouts. */
export function referenceOf(penalty: Penalty, c: LayerCase, data: LayerData): LayerResult {
  const { definition, options } = penalty;
  const { site } = siteOf(c);
  const result = definition.reference?.(plainLayer(c, data), options) as PenaltyReference;
  const flat = (matrix: Matrix | undefined, places: readonly (readonly number[])[], count: number) => {
    const numbers = Array.from({ length: count }, () => 0);
    matrix?.forEach((row, i) => {
      row.forEach((value, j) => {
        numbers[places[i]?.[j] ?? -1] = value;
      });
    });
    return numbers;
  };
  const { responses, weights, bias } = result.gradient;
  const factor = addedTo(site)?.factor ?? 1;
  return {
    value: result.value,
    response: flat(responses, responsePlaces(c.response, site), data.response.length),
    weight: flat(weights, weightPlaces(site.weight.shape ?? [], site), data.weight.length),
    bias: bias?.map((slope) => slope * factor) ?? Array.from(data.bias ?? [], () => 0),
  };
}
