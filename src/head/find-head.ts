import { constantOf } from "../analysis/probe-model.ts";
import { SorthError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { ancestorsOf } from "../graph/reach.ts";
import { isFloat } from "../onnx/data-types.ts";
import type { Tensor } from "../onnx/tensor.ts";

/** A parameter of the layer, as the file stores it. */
export interface HeadParameter {
  /** The initializer, or the output of a Constant node. */
  readonly value: Value;
  readonly tensor: Tensor;
  /** The axis that counts the layer's units. */
  readonly axis: number;
  /** The input that reads it: of the layer, or of the Transpose, Identity or Cast in between. */
  readonly reader: { readonly node: Node; readonly index: number };
}

/** The last layer of a network: the one whose units are the classes. */
export interface Head {
  readonly node: Node;
  /** The layer's result, its bias included. */
  readonly response: Value;
  readonly units: number;
  /** Numbers in one unit's weight vector. */
  readonly fanIn: number;
  readonly weight: HeadParameter;
  readonly bias: HeadParameter | undefined;
  /** The nodes between the layer and the output, from the output on. */
  readonly behind: readonly Node[];
}

/** Operators that may stand between the layer and the output: none has a parameter of its own for each class. */
const passing = new Set([
  ...["Softmax", "LogSoftmax", "Sigmoid", "HardSigmoid", "Relu", "Clip", "Identity", "Cast", "Dropout"],
  ...["Tanh", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Gather", "GatherND"],
  ...["GlobalAveragePool", "GlobalMaxPool", "AveragePool", "ReduceMean", "Resize", "Upsample"],
]);

/**
 * Finds the layer that an output reads: a Gemm, MatMul or Conv with a stored weight, through the bias that is added to it, a
 * Softmax or Sigmoid, pooling, resizing, one factor, picked positions and changes of shape. Where the sum or the mean of several layers
 * is read (a classifier and one that is distilled, as in LeViT), all of them.
 *
 * @param output - from {@link classifierOutput}
 * @throws SorthError if no layer lies in front of it, or its weight cannot be replaced
 */
export const findHeads = (output: Value): Head[] => headsOf(output, [], output);

function headsOf(value: Value, behind: readonly Node[], output: Value): Head[] {
  const node = value.producer;
  if (!node) throw noLayer(output, `the model's input "${value.name}"`);
  const head = layerAt(node, behind);
  if (head) return [head];
  const further = [...behind, node];
  const terms = ["Add", "Concat"].includes(node.op) ? node.inputs : [];
  if (terms.length > 1 && terms.every((term) => term?.producer)) {
    try {
      const heads = terms.flatMap((term) => (term ? headsOf(term, further, output) : []));
      if (new Set(heads.map(({ units }) => units)).size === 1) return heads;
    } catch {
      // The error below is about the sum as a whole.
    }
  }
  const next = passing.has(node.opType) ? node.inputs[0] : scaledBy(node);
  if (node.domain !== "" || !next) throw noLayer(output, `${node.op} "${node.label}"`);
  return headsOf(next, further, output);
}

/** What a node multiplies or divides by one stored number, such as a temperature. */
function scaledBy(node: Node): Value | null | undefined {
  const places = { Mul: [0, 1], Div: [1] }[node.opType] ?? [];
  const number = places.find((index) => storedAt(node, index)?.tensor.size === 1);
  return number === undefined ? undefined : node.inputs[1 - number];
}

/**
 * The value that a classifier computes.
 * @param graph - with inferred types
 * @param name - the output, or an inner value; default: the first output of floats
 * @throws UsageError if there is no such value
 */
export function classifierOutput(graph: Graph, name: string | undefined): Value {
  const names = graph.outputs.map((output) => output.name).join(", ");
  if (name === undefined) {
    const first = graph.outputs.find(({ type }) => isFloat(type));
    if (!first && graph.outputs.some(({ producer }) => producer?.opType === "ZipMap")) {
      throw new UsageError(
        'the scores are maps from names to numbers (ZipMap), which have no gradient: export the model with options={"zipmap": False} of skl2onnx',
      );
    }
    if (!first) throw new UsageError(`no output of the model holds floats (${names}): name the scores`);
    return first;
  }
  const value = graph.value(name);
  if (!value) throw new UsageError(`the model has no value "${name}"; its outputs are ${names}`);
  return value;
}

function noLayer(output: Value, found: string): SorthError {
  const rounding = roundingBefore(output);
  return new SorthError(
    rounding
      ? `"${output.name}" comes out of a quantized layer (${rounding.op} "${rounding.label}"), which takes no new classes: give them to the model as it was before it was quantized, and quantize that`
      : `"${output.name}" comes out of ${found}, and no layer with a weight of its own lies right in front of it: name the value that the classifier computes (--prediction), or export the model with another head`,
  );
}

/** The operator on quantized numbers from which a value comes, with no layer on other numbers in between. */
function roundingBefore(value: Value): Node | undefined {
  const open = new Set([value]);
  let quantizer: Node | undefined;
  for (const at of open) {
    const node = at.producer;
    if (!node || /^(Gemm|MatMul|Conv|ConvTranspose)$/.test(node.opType)) continue;
    if (/^((MatMul|Conv)Integer|QGemm|QLinear\w+)$/.test(node.opType)) return node;
    const isQuantizer = /^(Dynamic)?QuantizeLinear$/.test(node.opType);
    if (isQuantizer) quantizer ??= node;
    for (const input of isQuantizer ? [] : node.inputs) if (input) open.add(input);
  }
  return quantizer;
}

/** The layer whose result a node computes; undefined if the node is not a layer. */
function layerAt(node: Node, behind: readonly Node[]): Head | undefined {
  if (node.domain !== "") return undefined;
  const [response] = node.outputs;
  if (!response) return undefined;
  if (node.opType === "Add") return withAddedBias(node, response, behind);
  const found = weightOf(node);
  return found && { node, response, behind, ...found, bias: biasOf(node, found.units) };
}

/** A layer and the Add behind it, also with a Reshape or Casts in between, as Keras's Dense is written. */
function withAddedBias(add: Node, response: Value, behind: readonly Node[]): Head | undefined {
  for (const [index, product] of add.inputs.entries()) {
    const between: Node[] = [];
    let layer = product?.producer;
    while (layer && (layer.op === "Reshape" || layer.op === "Cast")) {
      between.push(layer);
      layer = layer.inputs[0]?.producer;
    }
    const found = layer?.domain === "" ? weightOf(layer) : undefined;
    const tensor = storedAt(add, 1 - index);
    if (!layer || !found || !tensor) continue;
    const own = biasOf(layer, found.units);
    const bias = vectorAt(add, 1 - index, found.units);
    if (own && bias) throw unclear(add, "two vectors are added to its result");
    return { node: layer, response, behind: [...behind, ...between], ...found, bias: bias ?? own };
  }
  return undefined;
}

function weightOf(node: Node): Pick<Head, "weight" | "units" | "fanIn"> | undefined {
  const axis = { Gemm: node.flag("transB") ? 0 : 1, MatMul: 1, Conv: 0 }[node.opType];
  if (axis === undefined) return undefined;
  const weight = parameterAt(node, 1, axis);
  if (!weight) {
    if (storedAt(node, 0)) throw unclear(node, "its weight is the left operand");
    const maker = node.inputs[1]?.producer;
    if (maker && isOfParameters(node.inputs[1])) {
      throw unclear(
        node,
        `its weight is computed (${maker.op}), as weight_norm does; export the model without that (torch.nn.utils.parametrize.remove_parametrizations)`,
      );
    }
    return undefined;
  }
  const { dims } = weight.tensor;
  if (node.opType === "Conv" && node.int("group", 1) !== 1) throw unclear(node, "it has groups");
  if (node.opType !== "Conv" && dims.length !== 2) throw unclear(node, `its weight has ${dims.length} axes`);
  if (!["float", "double", "float16"].includes(weight.tensor.type)) {
    throw unclear(node, `its weight is ${weight.tensor.type}; convert the model to float32 first`);
  }
  const units = dims[weight.axis] ?? 0;
  return { weight, units, fanIn: dims.reduce((a, b) => a * b, 1) / Math.max(1, units) };
}

/** Whether a value is computed from what the file stores alone. */
const isOfParameters = (value: Value | null | undefined): boolean =>
  [...ancestorsOf(value ? [value] : [])].every(({ inputs }) =>
    inputs.every((input) => !input || input.producer || input.initializer),
  );

/** The bias that a node itself adds. */
function biasOf(node: Node, units: number): HeadParameter | undefined {
  if (!node.inputs[2]) return undefined;
  const bias = vectorAt(node, 2, units);
  if (!bias && !(storedAt(node, 2)?.tensor.dims.every((dim) => dim === 1) ?? false)) {
    throw unclear(node, "its bias is computed");
  }
  return bias;
}

/** A stored vector with one number per unit. */
function vectorAt(node: Node, index: number, units: number): HeadParameter | undefined {
  const found = storedAt(node, index);
  const axis = found?.tensor.dims.indexOf(units) ?? -1;
  if (!found || axis < 0 || found.tensor.size !== units || units === 1) {
    return found && units === 1 && found.tensor.size === 1 && found.tensor.dims.length > 0
      ? { ...found, axis: found.tensor.dims.length - 1 }
      : undefined;
  }
  return { ...found, axis };
}

/** The parameter that an input reads, with the axis that becomes `axis` of the operand. */
function parameterAt(node: Node, index: number, axis: number): HeadParameter | undefined {
  let [at, found] = [axis, storedAt(node, index)];
  let { producer } = node.inputs[index] ?? {};
  for (; !found && producer?.domain === ""; ) {
    if (/Dequantize|MatMulNBits/.test(producer.opType)) throw unclear(node, "its weight is quantized");
    if (producer.opType === "Transpose") {
      const [{ shape } = { shape: undefined }] = producer.inputs.map((input) => input ?? undefined);
      const order = producer.ints("perm") ?? reversed(storedAt(producer, 0)?.tensor.dims ?? shape ?? []);
      at = order[at] ?? at;
    } else if (producer.opType !== "Identity" && producer.opType !== "Cast") return undefined;
    found = storedAt(producer, 0);
    producer = producer.inputs[0]?.producer;
  }
  return found && { ...found, axis: at };
}

const reversed = (dims: readonly number[]): number[] => dims.map((_, i) => dims.length - 1 - i);

/** What an input reads, if that is stored in the file, also behind an Identity, which PyTorch writes for equal tensors. */
export function storedAt(node: Node, index: number): Omit<HeadParameter, "axis"> | undefined {
  const value = node.inputs[index];
  const source = value?.producer?.op === "Identity" ? value.producer.inputs[0] : value;
  const tensor = source?.initializer ?? (source?.producer && constantOf(source.producer));
  return value && tensor ? { value, tensor, reader: { node, index } } : undefined;
}

const unclear = (node: Node, why: string): SorthError =>
  new SorthError(`the last layer, ${node.op} "${node.label}", cannot get new classes: ${why}`);
