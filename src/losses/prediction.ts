import { SorthError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import type { Objective } from "./objective.ts";

/** Names of several values in one text, with commas between them, which losses of embeddings take. */
export const namesIn = (text: string): string[] => text.split(",").map((name) => name.trim());

/** The value that a loss compares with labels. */
interface Prediction {
  readonly value: Value;
  /** A remark for the user if this is not the value that was asked for. */
  readonly remark: string | undefined;
}

/**
 * The value that a loss reads: the named output or inner value, else the first float output. If the model ends in the Softmax
 * or Sigmoid that the loss applies itself, this is the value in front of it, because applying it twice would flatten every
 * gradient.
 *
 * @param objective - the loss: its name, the operators that it applies itself, and its axis of classes
 * @param name - the value to use; undefined for the default
 * @throws UsageError if there is no such value or the choice is not clear; SorthError if no output holds floats.
 */
export function choosePrediction(
  graph: Graph,
  {
    name: objective,
    activations = [],
    classAxis = () => 1,
  }: Pick<Objective, "name" | "activations" | "classAxis">,
  name: string | undefined,
): Prediction {
  const { value, remark } =
    name === undefined ? firstScores(graph) : { value: named(graph, name), remark: undefined };
  const last = withoutCopies(value).producer;
  if (last?.domain !== "" || !activations.includes(last.opType)) {
    const [own] = activations;
    const made = own && probabilitiesFrom(value, activations);
    if (!made) return { value, remark };
    const twice = `"${value.name}" holds probabilities (${made}), to which the ${objective} applies a ${own} as if they were scores: name the scores with --prediction`;
    return { value, remark: joined(remark, twice) };
  }
  const logits = last.inputs[0];
  if (!logits) return { value, remark };
  const axis = last.opType === "Sigmoid" ? undefined : softmaxAxis(last, graph.opset, value.shape?.length);
  const taken = value.shape ? classAxis(value.shape) : 1;
  if (axis !== undefined && axis !== taken) {
    const other = `"${value.name}" comes out of a ${last.opType} over axis ${axis}, but the ${objective} takes axis ${taken} for the classes: the loss applies a second one`;
    return { value, remark: joined(remark, other) };
  }
  const found = `"${value.name}" comes out of a ${last.opType}, which the ${objective} applies itself: the loss reads "${logits.name}" in front of it`;
  return { value: logits, remark: joined(remark, found) };
}

/** A warning for a model whose own loss applies a Softmax to the result of one; undefined for others. */
export function remarkOnOwnScores(scores: Value): string | undefined {
  const last = withoutCopies(scores).producer;
  return last?.op === "Softmax"
    ? `the model's own loss applies a Softmax to "${scores.name}", which comes out of a Softmax: export the model with the loss over the logits`
    : undefined;
}

const joined = (first: string | undefined, second: string): string =>
  first === undefined ? second : `${first}; ${second}`;

function named(graph: Graph, name: string): Value {
  const value = graph.value(name);
  if (!value?.producer) {
    const outputs = graph.outputs.map((output) => output.name).join(", ");
    throw new UsageError(
      `the model computes no value "${name}"; its outputs are ${outputs} (inner values can be named too)`,
    );
  }
  if (value.type !== undefined && !isFloat(value.type)) {
    throw new SorthError(`"${name}" is ${value.type}; a loss needs floats: ${advice(graph)}`);
  }
  return value;
}

/** The first output, or the only float output if the first one holds labels, as in classifiers of scikit-learn. */
function firstScores(graph: Graph): Prediction {
  const [first] = graph.outputs;
  if (!first) throw new SorthError("the model has no output");
  if (first.shape?.length === 0 && isFloat(first.type)) {
    throw new UsageError(
      `the first output "${first.name}" is one number: give --loss ${first.name} if it is the loss, or name the scores (--prediction)`,
    );
  }
  if (isFloat(first.type) || (first.type === undefined && !first.otherType)) {
    return { value: first, remark: undefined };
  }
  const [value, ...others] = scoresOf(graph);
  const kind = `the first output "${first.name}" is ${first.type ?? "no tensor"}`;
  if (!value || others.length > 0) {
    throw new UsageError(`${kind}, and a loss needs floats: ${advice(graph)}`);
  }
  return { value, remark: `${kind}: the loss reads "${value.name}"` };
}

const advice = (graph: Graph): string => {
  const names = scoresOf(graph).map(({ name }) => name);
  return names.length === 0
    ? "name a value of floats inside the model with --prediction NAME"
    : `name the scores with --prediction (${names.join(" or ")})`;
};

/** Float outputs, and the floats that a ZipMap packs into an output. */
function scoresOf(graph: Graph): Value[] {
  return graph.outputs.flatMap((output) => {
    if (isFloat(output.type)) return [output];
    const packed = output.producer?.opType === "ZipMap" ? output.producer.inputs[0] : undefined;
    return packed ? [packed] : [];
  });
}

/** The value that another one copies, in the same type or another. */
function withoutCopies(value: Value): Value {
  const { producer } = value;
  const source = producer?.inputs[0];
  if (!producer || !source || producer.domain !== "") return value;
  const copies = producer.opType === "Identity" || (producer.opType === "Cast" && isFloat(source.type));
  return copies ? withoutCopies(source) : value;
}

/** The axis that a Softmax normalizes; −1 if it normalizes several together; undefined if not known. */
function softmaxAxis(node: Node, opset: number, rank: number | undefined): number | undefined {
  if (rank === undefined) return undefined;
  const axis = node.int("axis", opset < 13 ? 1 : -1);
  const from = axis < 0 ? axis + rank : axis;
  // Before opset 13, all axes from this one on are normalized together.
  return opset < 13 && from !== rank - 1 ? -1 : from;
}

/** Operators behind which probabilities are still probabilities, or nearly. */
const passing = new Set(["Identity", "Cast", "Clip", "Reshape", "Flatten", "Squeeze", "Unsqueeze"]);

/**
 * How a value was made of scores, if it holds probabilities: by an operator that the loss applies itself, in parts
 * (`exp(x) / Σ exp(x)`), by a Normalizer, or as `[1 − p, p]` of scikit-learn's classifiers of two classes. Undefined for anything
 * else, logarithms of probabilities among them, which a second softmax leaves as they are.
 * @param activations - the operators that the loss applies itself
 */
function probabilitiesFrom(value: Value, activations: readonly string[]): string | undefined {
  const { producer } = value;
  const [first, second] = producer?.inputs ?? [];
  if (!producer || !first) return undefined;
  if (producer.domain === "" && passing.has(producer.opType)) return probabilitiesFrom(first, activations);
  switch (producer.op) {
    case "Softmax":
    case "Sigmoid":
      return activations.includes(producer.op) ? `a ${producer.op}` : undefined;
    case "ai.onnx.ml.Normalizer":
      return "a Normalizer";
    case "Div":
      return behindCopies(second)?.op === "ReduceSum" && behindCopies(second)?.inputs[0] === first
        ? "a division by its sum"
        : undefined;
    case "Concat":
      return producer.inputs.length === 2 &&
        first.producer?.op === "Sub" &&
        first.producer.inputs[1] === second
        ? `[1 − p, p] of "${second?.name}"`
        : undefined;
    default:
      return undefined;
  }
}

function behindCopies(value: Value | null | undefined): Node | undefined {
  const producer = value?.producer ?? undefined;
  const copies = producer && (passing.has(producer.opType) || producer.opType === "Expand");
  return copies ? behindCopies(producer.inputs[0]) : producer;
}
