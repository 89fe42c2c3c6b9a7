import { constantTensor } from "../analysis/probe-model.ts";
import { SorthError } from "../errors.ts";
import { int } from "../graph/attribute.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { replaceNode } from "../graph/replace-node.ts";
import { tableOf } from "../lookup.ts";
import type { Model } from "../onnx/model.ts";
import { Tensor } from "../onnx/tensor.ts";
import { type TrainingModel, trainingModelOf } from "./training-model.ts";

/**
 * Reduces the graph of a training model, in place, to the nodes that compute its loss, in operators that every build of
 * ONNX Runtime runs. Parameters and frozen weights become initializers, gradients and their sums are removed, and the loss
 * remains as the only output. Values keep their names.
 *
 * @param weightOf - returns the numbers of a parameter or frozen weight
 * @param keep - other values to keep as outputs; they must not depend on gradients
 * @throws SorthError for an operator of training builds that has no standard form
 *
 * @example
 * const training = trainingModelOf(graph);
 * if (training) toForwardPart(training, ({ name }) => weights.get(name));
 */
export function toForwardPart(
  training: TrainingModel,
  weightOf: (value: Value) => Tensor,
  keep: readonly Value[] = [],
): void {
  const { graph, loss, parameters, frozen } = training;
  graph.outputs.splice(0, graph.outputs.length, loss, ...keep);
  graph.pruneInputs((input) => training.inputs.includes(input));
  for (const value of [...parameters.map((parameter) => parameter.value), ...frozen]) {
    if (graph.inputs.includes(value)) graph.inputToInitializer(value, weightOf(value));
  }
  for (const node of [...graph.nodes]) standardize(graph, node);
  graph.prune();
  const used = new Set(graph.nodes.map(({ domain }) => domain));
  for (const domain of graph.opsets.keys()) {
    if (domain !== "" && domain !== "ai.onnx" && !used.has(domain)) graph.opsets.delete(domain);
  }
}

/**
 * The forward part of a training model as a new graph; see {@link toForwardPart}.
 * @param keep - names of other values to keep as outputs
 * @throws SorthError for a file that is not a training model
 */
export function forwardGraphOf(
  model: Model,
  weightOf: (value: Value, training: TrainingModel) => Tensor,
  keep: readonly string[] = [],
): Graph {
  const graph = graphOf(model);
  const training = trainingModelOf(graph);
  if (!training) throw new SorthError("the file is not a training model of ONNX Runtime's training tools");
  toForwardPart(
    training,
    (value) => weightOf(value, training),
    keep.map((name) => graph.valueNamed(name)),
  );
  return graph;
}

/** Zeros for a weight of which only the shape matters. @throws SorthError when the file does not declare its shape */
export function zerosFor({ name, type, declared }: Value): Tensor {
  const dims = (declared ?? []).filter((dim) => typeof dim === "number");
  if (!declared || dims.length < declared.length || (type !== "float" && type !== "double")) {
    throw new SorthError(`the parameter "${name}" has no fixed shape of float or double numbers in the file`);
  }
  const size = dims.reduce((product, dim) => product * dim, 1);
  return Tensor.of(name, type, dims, type === "double" ? new Float64Array(size) : new Float32Array(size));
}

/** Operators that the training tools put into the forward part, each with a function that rewrites it in standard ones. */
const standardForms: Readonly<Record<string, (graph: Graph, node: Node) => void>> = tableOf({
  BatchNormInternal: batchNormalization,
  ConcatTraining: (graph, node) => replaceOperator(graph, node, "Concat", { outputs: 1 }),
  SplitTraining: (graph, node) => replaceOperator(graph, node, "Split", {}),
  BitmaskDropout: (graph, node) => replaceOperator(graph, node, "Dropout", { outputs: 1 }),
  QuickGelu: quickGelu,
  SoftmaxCrossEntropyLossInternal: crossEntropy,
});

/** Operators of com.microsoft that only training builds have. */
const trainingOnly =
  /(Grad|Internal|Training)$|^(Bitmask|BiasSoftmaxDropout|BiasDropout|PythonOp|InPlaceAccumulator|ScaledSum|PadAndUnflatten)/;

function standardize(graph: Graph, node: Node): void {
  if (node.domain === "" && node.opType === "MaxPool") dropUnusedOutputs(graph, node);
  if (node.domain !== "com.microsoft") return;
  const form = standardForms[node.opType];
  if (form) {
    form(graph, node);
    return;
  }
  if (trainingOnly.test(node.opType)) {
    throw new SorthError(
      `node "${node.label}" is a ${node.op}, which only the discontinued training builds of ONNX Runtime run, and this version has no standard form for it`,
    );
  }
}

/** Drops trailing outputs that only the gradient read (indices and masks). */
function dropUnusedOutputs(graph: Graph, node: Node): void {
  let kept = node.outputs.length;
  while (kept > 1 && (node.outputs[kept - 1]?.uses.size ?? 0) === 0) kept--;
  graph.dropNodeOutputs(node, kept);
}

/** Outputs: Y, running mean, running variance; then mean and deviation of the batch, which only the gradient reads. */
function batchNormalization(graph: Graph, node: Node): void {
  if (graph.opset < 14) {
    throw new SorthError(
      `node "${node.label}" normalizes with batch statistics, for which operator set ${graph.opset} has no standard form; make the artifacts from a model of opset 14 or above`,
    );
  }
  const attributes = new Map([...node.attributes, ["training_mode", int(1)] as const]);
  replaceOperator(graph, node, "BatchNormalization", { outputs: 3, attributes });
}

/** QuickGelu(x) = x · sigmoid(α·x). */
function quickGelu(graph: Graph, node: Node): void {
  const [x] = node.inputs;
  const [output] = node.outputs;
  if (!x || !output) throw new SorthError(`node "${node.label}" lacks its input or output`);
  const alpha = node.float("alpha", 1.702);
  const name = (suffix: string) => graph.freshName(`${output.name}/${suffix}`);
  const add = (opType: string, inputs: Value[], suffix: string) => {
    const result = name(suffix);
    graph.addNode({ opType, name: result, inputs, outputs: [result] });
    return graph.valueNamed(result);
  };
  const numbers = x.type === "double" ? Float64Array.of(alpha) : Float32Array.of(alpha);
  const type = x.type === "double" ? "double" : "float";
  const scaled =
    alpha === 1
      ? x
      : add("Mul", [x, graph.addInitializer(Tensor.of(name("alpha"), type, [], numbers))], "scaled");
  const product = add("Mul", [x, add("Sigmoid", [scaled], "sigmoid")], "product");
  replaceNode(graph, node, [product]);
}

/** Turns the fourth input into the standard operator's attribute ignore_index. */
function crossEntropy(graph: Graph, node: Node): void {
  const ignored = node.inputs[3];
  const attributes = new Map(node.attributes);
  if (ignored) {
    const constant = constantTensor(ignored);
    if (!constant) {
      throw new SorthError(`the ignored label of node "${node.label}" is computed, not a constant`);
    }
    attributes.set("ignore_index", int(constant.numbers()[0] ?? -1));
  }
  replaceOperator(graph, node, "SoftmaxCrossEntropyLoss", { inputs: 3, attributes });
}

/** Replaces a node by a standard operator; its output values keep their names and readers. */
function replaceOperator(
  graph: Graph,
  node: Node,
  opType: string,
  change: {
    readonly inputs?: number;
    readonly outputs?: number;
    readonly attributes?: Node["attributes"];
  },
): void {
  const outputs = node.outputs.slice(0, change.outputs);
  const inputs = node.inputs.slice(0, change.inputs);
  while (inputs.length > 0 && !inputs.at(-1)) inputs.pop();
  const dropped = node.outputs.slice(outputs.length).find((output) => output && output.uses.size > 0);
  if (dropped) {
    throw new SorthError(`the loss depends on "${dropped.name}", which only ${node.op} computes`);
  }
  const replacement = graph.addNode({
    ...{ opType, name: node.name, inputs },
    attributes: change.attributes ?? node.attributes,
    outputs: outputs.map((output) => output && graph.freshName(`${output.name}/standard`)),
  });
  for (const [index, output] of outputs.entries()) {
    const fresh = replacement.outputs[index];
    if (output && fresh) Object.assign(fresh, { declared: output.declared, type: output.type });
  }
  replaceNode(
    graph,
    node,
    replacement.outputs.map((fresh) => fresh ?? undefined),
  );
}
