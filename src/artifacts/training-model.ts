import { SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { ancestorsOf, descendantsOf } from "../graph/reach.ts";
import { tableOf } from "../lookup.ts";
import { bufferSuffix, resetInput } from "./format.ts";

/** A parameter of a training model. */
interface TrainedParameter {
  readonly value: Value;
  /** ∂loss/∂value of one run. */
  readonly gradient: Value;
  /** The input that holds the sum of gradients over runs. */
  readonly buffer: Value;
}

/**
 * A training_model.onnx of ONNX Runtime's training API: a graph that computes the loss and its gradients; parameters and
 * gradient sums are inputs. Python's `onnxruntime.training.artifacts` and `buildArtifacts` write such files.
 */
export interface TrainingModel {
  readonly graph: Graph;
  /** Output 0, a scalar. */
  readonly loss: Value;
  /** The nodes on which the loss depends, in file order. */
  readonly forward: readonly Node[];
  /** Trained parameters, in the order of the inputs. */
  readonly parameters: readonly TrainedParameter[];
  /** Other inputs that a checkpoint holds: weights that are not trained, running statistics of BatchNorm. */
  readonly frozen: readonly Value[];
  /** Inputs that are fed at each step: data, then labels. */
  readonly inputs: readonly Value[];
  /** The complete gradient of a value of the forward part; undefined if none is computed. */
  gradientOf(value: Value): Value | undefined;
}

/** Operators of com.microsoft that occur only in graphs made by ONNX Runtime's training tools. */
const trainingOps =
  /(Grad|^InPlaceAccumulator(V2)?|^SGDOptimizer(V2)?|^AdamWOptimizer|^BatchNormInternal|^ConcatTraining)$/;

/** The kind of training artifact that a graph is; undefined for any other model. */
export function artifactKind(graph: Graph): "training" | "eval" | "optimizer" | "unknown" | undefined {
  const isOp = (pattern: RegExp) =>
    graph.nodes.some(({ domain, opType }) => domain === "com.microsoft" && pattern.test(opType));
  if (isOp(/^InPlaceAccumulator(V2)?$/) && graph.value(resetInput)) return "training";
  if (isOp(/^(AdamWOptimizer|SGDOptimizer(V2)?)$/)) return "optimizer";
  if (isOp(/^(BatchNormInternal|ConcatTraining)$/) && !isOp(/Grad$/)) return "eval";
  return isOp(trainingOps) ? "unknown" : undefined;
}

/** @throws SorthError for a training artifact, where a forward model is needed */
export function checkNoArtifact(graph: Graph): void {
  const kind = artifactKind(graph);
  if (!kind) return;
  const what = kind === "unknown" ? "an artifact" : `${kind === "training" ? "a" : "an"} ${kind} model`;
  throw new SorthError(
    `the file is ${what} of ONNX Runtime's training tools, which stock ONNX Runtime does not run; inspect, inject, strip, verify and train take training_model.onnx, everything else the forward model that it was made from`,
  );
}

/**
 * The parts of a training model; undefined if the graph is not one.
 * @param frozenNames - names of the checkpoint's frozen parameters. Without them, an input counts as frozen if it comes
 * after the first trained parameter, or if operators read it where they read weights.
 * @throws SorthError for an incomplete training model
 *
 * @example
 * const training = trainingModelOf(graphOf(model));
 * training?.parameters.map(({ value }) => value.name); // ["fc1.weight", "fc1.bias", …]
 */
export function trainingModelOf(graph: Graph, frozenNames?: ReadonlySet<string>): TrainingModel | undefined {
  if (artifactKind(graph) !== "training") return undefined;
  const [loss] = graph.outputs;
  if (!loss?.producer) throw broken("its first output, the loss, is not computed by a node");
  const parameters = graph.inputs.flatMap((buffer) => parameterOf(graph, buffer) ?? []);
  if (parameters.length === 0) throw broken(`no input is named like a gradient's sum (…${bufferSuffix})`);

  // Artifacts of this program have no seed value: there the gradient is identified by its name alone.
  const seed = graph.value(`${loss.name}_grad`);
  const downstream = seed && descendantsOf([seed]);
  const behind = ancestorsOf([loss]);
  const forward = graph.nodes.filter((node) => behind.has(node));
  const special = new Set<Value>(parameters.flatMap(({ value, buffer }) => [value, buffer]));
  const rest = graph.inputs.filter(
    (input) => !input.initializer && !special.has(input) && input.name !== resetInput,
  );
  const firstParameter = graph.inputs.findIndex((input) => special.has(input));
  const isFrozen = (input: Value) =>
    frozenNames
      ? frozenNames.has(input.name)
      : graph.inputs.indexOf(input) > firstParameter || isReadAsWeight(input, behind);
  return {
    ...{ graph, loss, forward, parameters },
    frozen: rest.filter(isFrozen),
    inputs: rest.filter((input) => !isFrozen(input)),
    gradientOf: ({ name }) => {
      const gradient = graph.value(`${name}_grad`);
      if (!gradient?.producer || (downstream && !downstream.has(gradient))) return undefined;
      return gradient;
    },
  };
}

const broken = (reason: string): SorthError =>
  new SorthError(`the file looks like a training model of ONNX Runtime, but is incomplete: ${reason}`);

function parameterOf(graph: Graph, buffer: Value): TrainedParameter | undefined {
  if (!buffer.name.endsWith(bufferSuffix)) return undefined;
  const name = buffer.name.slice(0, -bufferSuffix.length);
  const value = graph.value(name);
  if (!value || !graph.inputs.includes(value)) {
    throw broken(`the input "${buffer.name}" has no parameter "${name}" beside it`);
  }
  const accumulator = [...buffer.uses].find(({ node }) =>
    /^InPlaceAccumulator(V2)?$/.test(node.opType),
  )?.node;
  const gradient = accumulator?.inputs[1];
  if (!gradient) throw broken(`no accumulator adds a gradient to "${buffer.name}"`);
  return { value, gradient, buffer };
}

/** Input indices at which operators read weights and statistics rather than data. */
const weightInputs: Readonly<Record<string, readonly number[]>> = tableOf({
  Conv: [1, 2],
  ConvTranspose: [1, 2],
  Gemm: [1, 2],
  MatMul: [1],
  FusedMatMul: [1],
  BatchNormalization: [1, 2, 3, 4],
  BatchNormInternal: [1, 2, 3, 4],
  LayerNormalization: [1, 2],
  InstanceNormalization: [1, 2],
  Gather: [0],
  PRelu: [1],
});

/** Whether an input has a fixed shape and the forward part reads it where operators read weights. */
function isReadAsWeight(input: Value, forward: ReadonlySet<Node>): boolean {
  const fixed = input.declared?.every((dim) => typeof dim === "number");
  const reads = [...input.uses].filter(({ node }) => forward.has(node));
  return !!fixed && reads.some(({ node, index }) => weightInputs[node.opType]?.includes(index));
}
