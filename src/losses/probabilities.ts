import type { Node, Value } from "../graph/node.ts";

/** Operators behind which probabilities are still probabilities, or nearly. */
const passing = new Set(["Identity", "Cast", "Clip", "Reshape", "Flatten", "Squeeze", "Unsqueeze"]);

/**
 * How a value was made of scores, if it holds probabilities: by an operator that the loss applies itself, in parts
 * (`exp(x) / Σ exp(x)`), by a Normalizer, or as `[1 − p, p]` of scikit-learn's classifiers of two classes. Undefined for anything
 * else, logarithms of probabilities among them, which a second softmax leaves as they are.
 * @param activations - the operators that the loss applies itself
 */
export function probabilitiesFrom(value: Value, activations: readonly string[]): string | undefined {
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
