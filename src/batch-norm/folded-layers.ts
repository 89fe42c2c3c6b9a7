import { isFoldedByExporter } from "../analysis/exporter-names.ts";
import { namesOfLayer } from "../analysis/known-names.ts";
import { checkMatches, matchesAny } from "../analysis/name-patterns.ts";
import { SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import type { Tensor } from "../onnx/tensor.ts";

/** A layer into whose weights an exporter folded a BatchNormalization, or may have. */
export interface FoldedLayer {
  /** Name of its node, or of its output if the node has no name. */
  readonly name: string;
  /** All names by which a user may choose it. */
  readonly names: readonly string[];
  readonly node: Node;
  /** Its result, bias included: `[N, units, …]`. */
  readonly response: Value;
  /** The stored weight, read by this layer alone. */
  readonly weight: Value;
  /** The axis of the stored weight that counts the units, within a group for ConvTranspose. */
  readonly axis: number;
  readonly units: number;
  /** The stored bias, one number per unit; undefined where there is none, as an exporter leaves out zeros. */
  readonly bias: Tensor | undefined;
  /** The name under which the layer (or the Add) reads its bias. */
  readonly biasInput: string | undefined;
  /** Whether nothing else reads the stored bias. */
  readonly ownsBias: boolean;
  /** The Add that adds the bias; undefined where the layer does that itself. */
  readonly add: Node | undefined;
}

/** A layer that gets no BatchNormalization, and why. */
interface OtherLayer {
  readonly name: string;
  readonly names: readonly string[];
  readonly reason: string;
}

/** Which layers get their BatchNormalization back. */
export interface FoldedLayerOptions {
  /**
   * The layers that had a BatchNormalization, by their names; default: those that the exporter has noted or, where it notes
   * nothing, those that look like it (see `recoverBatchNorm`).
   */
  readonly include?: RegExp;
  /** Not these layers. */
  readonly exclude?: RegExp;
}

const layerOps: ReadonlySet<string> = new Set(["Conv", "ConvTranspose", "Gemm", "MatMul"]);

/** Operators that may lie between the last layer and an output. */
const behindLast = new Set([
  ...[
    "Softmax",
    "LogSoftmax",
    "Sigmoid",
    "HardSigmoid",
    "Relu",
    "Clip",
    "Tanh",
    "Identity",
    "Cast",
    "Dropout",
  ],
  ...["Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Concat", "Resize", "ArgMax"],
  ...["GlobalAveragePool", "GlobalMaxPool", "AveragePool", "ReduceMean"],
]);

/** Operators that normalize what a layer computes, and those that may lie in between. */
const normalizing = /^((Batch|Layer|Instance|Group|RMS|MeanVariance|Lp|SimplifiedLayer)Normalization|LRN)$/;
const reshaping = new Set(["Transpose", "Reshape", "Identity", "Flatten", "Unsqueeze", "Squeeze", "Cast"]);

/**
 * The layers that get a BatchNormalization back.
 * @param graph - with inferred types and shapes
 * @throws UsageError for a pattern that matches no layer; SorthError if no layer is left
 */
export function foldedLayers(
  graph: Graph,
  { include, exclude }: FoldedLayerOptions,
): { readonly layers: FoldedLayer[]; readonly others: OtherLayer[] } {
  const found = graph.nodes.flatMap((node) => {
    const isLayer = node.domain === "" && layerOps.has(node.opType) && node.inputs[1] && node.outputs[0];
    return isLayer ? [layerAt(graph, node)] : [];
  });
  const known = found.map(({ names }) => names);
  if (include) checkMatches("include", include, "layer", known);
  if (exclude) checkMatches("exclude", exclude, "layer", known);
  const last = lastLayers(graph);
  const noted = found.some((one) => "node" in one && isNoted(one));
  const convolves = found.some((one) => "node" in one && /^Conv/.test(one.node.opType));
  const layers: FoldedLayer[] = [];
  const others: OtherLayer[] = [];
  for (const one of found) {
    const leftOut = (reason: string) => others.push({ name: one.name, names: one.names, reason });
    if (exclude && matchesAny(exclude, one.names)) leftOut("excluded");
    else if (include && !matchesAny(include, one.names)) leftOut("not included");
    else if (!("node" in one)) leftOut(one.reason);
    else {
      const reason = include ? undefined : reasonAgainst(one, { last, noted, convolves });
      if (reason === undefined) layers.push(one);
      else leftOut(reason);
    }
  }
  if (layers.length > 0) return { layers, others };
  const reasons = others.slice(0, 3).map(({ name, reason }) => `${name}: ${reason}`);
  const why = found.length === 0 ? "the model has no layer with weights" : reasons.join("; ");
  throw new SorthError(`no layer reads as one that BatchNorm was folded into (${why})`);
}

/** Whether the exporter says that it folded a BatchNormalization into a layer. */
const isNoted = ({ node, add }: Pick<FoldedLayer, "node" | "add">): boolean =>
  isFoldedByExporter(node) || (add !== undefined && isFoldedByExporter(add));

/** Why a layer does not look as if an exporter had folded a BatchNormalization into it; undefined if it does. */
function reasonAgainst(
  { node, response, add, bias }: FoldedLayer,
  model: { readonly last: ReadonlySet<Node>; readonly noted: boolean; readonly convolves: boolean },
): string | undefined {
  if (model.noted) return isNoted({ node, add }) ? undefined : "the exporter folded none into it";
  if (!bias) return "it has no bias, so that nothing was folded into it";
  if (model.last.has(node) || (add && model.last.has(add))) return "it is the last layer";
  const isConvolution = /^Conv/.test(node.opType);
  if (!isConvolution && model.convolves) return "exporters fold into convolutions";
  const positions = (response.shape ?? []).slice(2);
  if (isConvolution && positions.every((length) => length === 1)) {
    return "its images are single points, as in squeeze-and-excitation";
  }
  const readers = readersThrough(response);
  const norm = readers.find(({ opType }) => normalizing.test(opType));
  if (norm) return `${norm.op} normalizes it`;
  const writtenOut = ["ReduceMean", "Sub"].every((op) => readers.some((node) => node.op === op));
  return writtenOut ? "a normalization that is written out follows" : undefined;
}

/** The nodes that read a value, also through changes of its shape. */
function readersThrough(value: Value): Node[] {
  return [...value.uses].flatMap(({ node }) => {
    const [output] = node.outputs;
    return node.domain === "" && reshaping.has(node.opType) && output ? readersThrough(output) : [node];
  });
}

/** The layers that outputs read directly, or through what usually lies behind a last layer. */
function lastLayers(graph: Graph): ReadonlySet<Node> {
  const last = new Set<Node>();
  const seen = new Set<Value>();
  const open = [...graph.outputs];
  for (let value = open.pop(); value; value = open.pop()) {
    const node = value.producer;
    if (!node || seen.has(value)) continue;
    seen.add(value);
    if (layerOps.has(node.opType)) last.add(node);
    else if (node.domain === "" && behindLast.has(node.opType)) {
      open.push(...node.inputs.flatMap((input) => input ?? []));
    } else if (node.opType === "Add" && node.inputs.some((input) => input?.initializer)) {
      open.push(...node.inputs.flatMap((input) => input ?? []));
    }
  }
  return last;
}

/** What the file stores of a layer, or why it can get no BatchNormalization. */
function layerAt(graph: Graph, node: Node): FoldedLayer | OtherLayer {
  const operand = node.inputs[1] as Value;
  const { weight, axis } = storedWeight(node, operand);
  const { bias, add, response } = biasOf(graph, node);
  const name = node.label;
  const names = namesOfLayer(node, weight ?? operand, bias?.value);
  const against = (reason: string): OtherLayer => ({ name, names, reason });
  if (!weight?.initializer) return against("its weight is no tensor of the file");
  if (weight.uses.size !== 1) return against("another node reads its weight too");
  if (weight.type !== "float" && weight.type !== "double") {
    return against(`its weight is ${weight.type}: convert the model to float32 first`);
  }
  const isConvolution = /^Conv/.test(node.opType);
  const length = weight.initializer.dims[axis] ?? 0;
  const units = node.opType === "ConvTranspose" ? length * node.int("group", 1) : length;
  if (!bias && (node.opType === "MatMul" || node.inputs[2])) {
    return against("it has no bias, so that nothing was folded into it");
  }
  if (bias && bias.tensor.size !== units) return against("its bias is not one number for each unit");
  if (!isConvolution && response.shape?.length !== 2) return against("its result has more than two axes");
  if (node.opType === "Gemm" && graph.opset < 11) return against("a Gemm of this opset needs its bias");
  const beta = node.opType === "Gemm" ? node.float("beta", 1) : 1;
  if (beta === 0 || !Number.isFinite(beta)) return against(`its bias counts ${beta} times (beta)`);
  if (graph.outputs.includes(response)) return against("its result is an output of the model");
  return {
    ...{ name, names, node, response, weight, axis, units, add },
    ...{ bias: bias?.tensor, biasInput: bias?.value.name, ownsBias: bias?.isOwn ?? false },
  };
}

/** The stored weight, also behind a Transpose or Identity, and the axis that counts its units. */
function storedWeight(
  node: Node,
  operand: Value,
): { readonly weight: Value | undefined; readonly axis: number } {
  const ofUnits = { Conv: 0, ConvTranspose: 1, Gemm: node.flag("transB") ? 0 : 1, MatMul: 1 };
  let axis = ofUnits[node.opType as keyof typeof ofUnits];
  let value = operand;
  for (; value.producer; value = value.producer.inputs[0] ?? value) {
    const { producer } = value;
    const [source] = producer.inputs;
    if (producer.domain !== "" || !source || value.uses.size !== 1) return { weight: undefined, axis };
    if (producer.opType === "Transpose") {
      const rank = source.shape?.length ?? 0;
      axis = (producer.ints("perm") ?? Array.from({ length: rank }, (_, i) => rank - 1 - i))[axis] ?? axis;
    } else if (producer.opType !== "Identity") return { weight: undefined, axis };
  }
  return { weight: value.initializer ? value : undefined, axis };
}

/** A bias as the file stores it. */
interface StoredBias {
  /** The value that the layer reads. */
  readonly value: Value;
  readonly tensor: Tensor;
  /** Whether nothing else reads it. */
  readonly isOwn: boolean;
}

/** The bias that a layer adds itself, or that the only reader of its result adds. */
function biasOf(
  graph: Graph,
  node: Node,
): { readonly bias: StoredBias | undefined; readonly add: Node | undefined; readonly response: Value } {
  const product = node.outputs[0] as Value;
  const own = node.inputs[2];
  const none = { bias: own ? storedBias(own) : undefined, add: undefined, response: product };
  const [use, second] = product.uses;
  const add = use?.node;
  if (own || !add || second || use.index < 0 || add.op !== "Add" || graph.outputs.includes(product))
    return none;
  const other = add.inputs[1 - use.index];
  const response = add.outputs[0];
  const bias = other && storedBias(other);
  const dims = bias?.tensor.dims;
  const rank = product.shape?.length ?? 0;
  if (!bias || !response || !dims || dims.length > rank || dims.length === 0) return none;
  // One number for each unit: [units] for [N, units], [units, 1, 1] for images.
  const isPerUnit = dims.every((dim, i) => i === dims.length - rank + 1 || dim === 1);
  return isPerUnit && dims.length >= rank - 1 ? { bias, add, response } : none;
}

/** A stored bias, also behind an Identity, which PyTorch writes for equal tensors. */
function storedBias(value: Value): StoredBias | undefined {
  const source = value.producer?.op === "Identity" ? value.producer.inputs[0] : value;
  const tensor = source?.initializer;
  return tensor && { value, tensor, isOwn: source === value && value.uses.size === 1 };
}
