import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { ancestorsOf } from "../graph/reach.ts";
import { dimAt, isGroupCount } from "../graph/shapes.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { injectedNodes, originalPrefix } from "./block-nodes.ts";
import { namesOfLayer } from "./known-names.ts";
import { reasonOfOtherLayer } from "./other-layers.ts";
import type { BodyNode, HiddenLayers, Site, SiteOp, SkippedSite } from "./site-types.ts";
import { dependingOnData, type Traced, traceComputed, traceParameter } from "./trace-parameter.ts";

/** Operators that can be sites. */
export const siteOps: ReadonlySet<string> = new Set<SiteOp>(["Gemm", "Conv", "ConvTranspose", "MatMul"]);

/** The part of a {@link Site} that follows from the operator and its weight; the rest follows from its response. */
interface Layer {
  readonly weight: Traced;
  readonly weightInput: 0 | 1;
  readonly units: number;
  readonly fanIn: number;
  readonly groups: number;
  readonly unitAxis: number;
  readonly response: Value;
  readonly bias: Value | undefined;
}

/**
 * Finds the layers of an inferred graph (DESIGN §2): every Gemm, Conv, ConvTranspose and MatMul with a parameter as one
 * operand. Layers that take no penalty are returned with the reason.
 * @param leastRows - rows of responses that a layer must have (default 1; angles between responses need 2)
 * @param openResponses - include layers whose response has no known shape; their rows are NaN (for callers that use only weights)
 * @param singleUnits - include layers of one unit, and depthwise convolutions (for callers that compare no units)
 * @param parameters - what is trained, which tells the weight from a constant that it is multiplied with
 * @param hidden - layers inside bodies and functions, which are returned with the reason too
 * @param inBodies - include those inside bodies, of which only the weight can be read (`Site.body` says why)
 *
 * @example
 * await inferShapes(graph, nodeProbe);
 * findSites(graph).sites.map((site) => `${site.name}: ${site.units} units of ${site.fanIn}`);
 */
export function findSites(
  graph: Graph,
  options: SiteOptions = {},
): { sites: Site[]; skipped: SkippedSite[] } {
  const sites: Site[] = [];
  const skipped: SkippedSite[] = [];
  const block = injectedNodes(graph);
  const live = leadingToOutputs(graph, block);
  const data = dependingOnData(graph);
  const take = (node: Node, inBody?: BodyNode): void => {
    const skip = (reason: string) => skipped.push({ name: node.label, op: node.op, reason });
    if (node.domain !== "" || !siteOps.has(node.opType)) {
      const reason = reasonOfOtherLayer(graph, node);
      if (reason) skip(reason);
      return;
    }
    const trace = (operand: Value) => traced(graph, operand, data);
    const layer = layerOf(graph, node, node.opType as SiteOp, trace, options.parameters);
    if (inBody?.refused) skip(inBody.refused);
    else if (typeof layer === "string") {
      // Products of two activations are listed in the graph itself, where one can see that they are meant.
      if (!inBody || layer !== noParameter) skip(layer);
    } else if (!live.has(inBody?.holder ?? node)) skip(behindNoOutput);
    else if (inBody) {
      const reason = reasonToSkip(layer, { ...options, openResponses: true });
      if (reason ?? !options.inBodies) skip(reason ?? inBody.reason);
      else sites.push(siteOf(node, layer, inBody));
    } else {
      const reason = reasonToSkip(layer, options);
      if (reason) skip(reason);
      else sites.push(siteOf(node, layer));
    }
  };
  for (const node of graph.nodes) if (!block.has(node)) take(node);
  const { inBodies = [], inFunctions = [] } = options.hidden ?? {};
  for (const inBody of inBodies) if (!block.has(inBody.holder)) take(inBody.node, inBody);
  skipped.push(...inFunctions);
  return { sites, skipped };
}

/** Options of {@link findSites}. */
interface SiteOptions {
  readonly leastRows?: number;
  readonly openResponses?: boolean;
  readonly singleUnits?: boolean;
  readonly hidden?: HiddenLayers | undefined;
  readonly inBodies?: boolean;
  readonly parameters?: ReadonlySet<Value>;
}

function siteOf(node: Node, layer: Layer, inBody?: BodyNode): Site {
  const { weight, response, bias, weightInput, units, fanIn, groups, unitAxis } = layer;
  return {
    name: node.label,
    names: namesOfLayer(node, weight.parameter, bias),
    op: node.opType as SiteOp,
    ...{ node, response, weight: weight.parameter, bias, weightInput, units, fanIn, groups, unitAxis },
    rows: response.shape ? elementCount(response.shape) / units : Number.NaN,
    rowsFixed: response.shapeFixed,
    freeAxes: response.freeAxes ?? [...(response.shape ?? []).keys()],
    quantized: weight.quantized,
    ...(inBody && { body: inBody }),
  };
}

const noParameter = "no operand is a parameter";
const behindNoOutput = "no output of the model depends on it";

/** The nodes on which the model's own outputs depend; all nodes if the graph has no outputs. */
function leadingToOutputs(graph: Graph, block: ReadonlySet<Node>): ReadonlySet<Node> {
  if (graph.outputs.length === 0) return new Set(graph.nodes);
  const own = graph.outputs.flatMap((output) => {
    if (!output.producer || !block.has(output.producer)) return [output];
    // An output loss + w·R: the loss itself was renamed.
    return graph.value(`${originalPrefix}${output.name}`) ?? [];
  });
  return ancestorsOf(own);
}

/** The parameter behind an operand: the operand itself, the same in another layout, or the parameter from which it is computed. */
const traced = (graph: Graph, operand: Value, data: ReadonlySet<Value>): Traced | undefined =>
  traceParameter(graph, operand) ?? (data.has(operand) ? undefined : traceComputed(operand));

/** Why a layer gets no penalty. */
function reasonToSkip(
  { units, groups, response, weight }: Layer,
  { leastRows = 1, openResponses = false, singleUnits = false }: SiteOptions,
): string | undefined {
  if (!response.shape && !openResponses)
    return `the shape of its response "${response.name}" is not known before the model runs`;
  const type = response.type ?? (openResponses ? weight.parameter.type : undefined);
  if (!isFloat(type)) return `its outputs are ${type}, not floats`;
  if (units < 2 && !singleUnits) return "one unit has no pairs";
  if (units / groups < 2 && !singleUnits) return `depthwise: each of its ${units} units sees other channels`;
  if (!response.shape) return undefined;
  const rows = elementCount(response.shape) / units;
  return rows < leastRows ? "one row of responses: angles need at least two" : undefined;
}

function layerOf(
  graph: Graph,
  node: Node,
  op: SiteOp,
  trace: (operand: Value) => Traced | undefined,
  parameters: ReadonlySet<Value> | undefined,
): Layer | string {
  const [a, b] = node.inputs;
  const output = node.outputs[0];
  if (!a || !b || !output) return "an operand is missing";
  if (op === "Conv" || op === "ConvTranspose") {
    const weight = trace(b);
    return weight
      ? convolution(graph, node, op, weight, b, output)
      : "its weight is computed, and no parameter of its size is what it is computed from";
  }
  const both = [trace(a), trace(b)];
  // Of two constants (an initial state times a weight), the one that is trained is the weight.
  const [left, right] =
    both[0] && both[1] && parameters
      ? both.map((one) => (one && parameters.has(one.parameter) ? one : undefined))
      : both;
  if (!left && !right) return noParameter;
  if (left && right) return "both operands are parameters";
  const weight = (right ?? left) as Traced;
  const operand = right ? b : a;
  return op === "Gemm"
    ? gemm(graph, node, weight, operand, output, right !== undefined)
    : matMul(graph, weight, operand, output, right !== undefined);
}

function gemm(
  graph: Graph,
  node: Node,
  weight: Traced,
  operand: Value,
  response: Value,
  right: boolean,
): Layer | string {
  if (operand.shape?.length !== 2) return `the shape of its weight "${operand.name}" is not known`;
  const transposed = node.flag(right ? "transB" : "transA");
  // Units are the columns of the right operand, or the rows of the left one.
  const axis = right === transposed ? 0 : 1;
  const third = node.inputs[2];
  return {
    ...{ weight, weightInput: right ? 1 : 0, response, groups: 1, unitAxis: right ? 1 : 0 },
    units: dimAt(operand.shape, axis),
    fanIn: dimAt(operand.shape, 1 - axis),
    bias: third ? traceParameter(graph, third)?.parameter : undefined,
  };
}

function matMul(graph: Graph, weight: Traced, operand: Value, output: Value, right: boolean): Layer | string {
  const { shape } = operand;
  if (!shape) return `the shape of its weight "${operand.name}" is not known`;
  if (shape.length < 2) return "one unit has no pairs";
  if (elementCount(shape.slice(0, -2)) !== 1)
    return "its weight is a stack of matrices, one for each index of the batch";
  if (!output.shape) {
    const unknown = {
      weight,
      units: dimAt(shape, right ? -1 : -2),
      fanIn: dimAt(shape, right ? -2 : -1),
      groups: 1,
    };
    return {
      ...unknown,
      weightInput: right ? 1 : 0,
      unitAxis: right ? -1 : -2,
      response: output,
      bias: undefined,
    };
  }
  // A vector as the other operand leaves no axis for rows.
  const unitAxis = right ? output.shape.length - 1 : output.shape.length - 2;
  if (unitAxis < 0 || (!right && dimAt(output.shape, unitAxis) !== dimAt(shape, -2))) {
    return "one row of responses: angles need at least two";
  }
  const units = dimAt(shape, right ? -1 : -2);
  const added = addedBias(graph, output, unitAxis, units);
  return {
    ...{ weight, weightInput: right ? 1 : 0, units, groups: 1, unitAxis },
    fanIn: dimAt(shape, right ? -2 : -1),
    response: added?.response ?? output,
    bias: added?.bias,
  };
}

/** The Add that adds a bias (a parameter with one number per unit), if it is the only reader of a product. */
function addedBias(
  graph: Graph,
  product: Value,
  unitAxis: number,
  units: number,
): { response: Value; bias: Value } | undefined {
  const [use] = product.uses;
  const add = use?.node;
  if (!use || product.uses.size !== 1 || graph.outputs.includes(product)) return undefined;
  const cast = castOf(use.node);
  if (cast) return addedBias(graph, cast, unitAxis, units);
  if (add?.opType !== "Add" || add.domain !== "" || use.index < 0) return undefined;
  const other = add.inputs[1 - use.index];
  const response = add.outputs[0];
  const rank = product.shape?.length ?? 0;
  if (!other?.shape || !response || other.shape.length > rank) return undefined;
  const lead = rank - other.shape.length;
  const perUnit =
    other.shape.every((dim, axis) => dim === (axis + lead === unitAxis ? units : 1)) && lead <= unitAxis;
  const bias = perUnit ? traceParameter(graph, other) : undefined;
  return bias && { response, bias: bias.parameter };
}

/** The result of a Cast to the type that its input has already (Keras writes one behind every operator); undefined for other nodes. */
function castOf({ op, inputs, outputs }: Node): Value | undefined {
  const [result] = outputs;
  return op === "Cast" && result && inputs[0]?.type === result.type ? result : undefined;
}

function convolution(
  graph: Graph,
  node: Node,
  op: "Conv" | "ConvTranspose",
  weight: Traced,
  operand: Value,
  response: Value,
): Layer | string {
  const { shape } = operand;
  if (!shape) return `the shape of its weight "${operand.name}" is not known`;
  if (shape.length < 3 || shape.length > 5)
    return `a convolution over ${shape.length - 2} axes; supported are 1 to 3`;
  const groups = node.int("group", 1);
  if (!isGroupCount(groups, shape)) return `its weight of shape [${shape}] has no ${groups} groups`;
  const bias = node.inputs[2];
  const kernel = elementCount(shape.slice(2));
  // Conv: [units, channels/groups, …]. ConvTranspose: [channels, units/groups, …].
  const conv = op === "Conv";
  return {
    ...{ weight, weightInput: 1, response, groups, unitAxis: 1 },
    units: conv ? dimAt(shape, 0) : dimAt(shape, 1) * groups,
    fanIn: (conv ? dimAt(shape, 1) : dimAt(shape, 0) / groups) * kernel,
    bias: bias ? traceParameter(graph, bias)?.parameter : undefined,
  };
}
