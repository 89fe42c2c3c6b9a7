import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { isTrainingForm } from "./batch-norm-form.ts";
import { constantTensor } from "./probe-model.ts";

/** A scale or bias that ONNX Runtime overwrites with a running statistic. */
interface OverwrittenParameter {
  /** A BatchNormalization in training form. */
  readonly node: Node;
  /** Its scale or bias. */
  readonly parameter: Value;
  /** Its running mean or variance. */
  readonly statistic: Value;
  /** Whether both are one value in the file; otherwise graph optimization makes them one, because their numbers are equal. */
  readonly shared: boolean;
}

/** ONNX Runtime's ConstantSharing merges equal initializers of at most this many numbers. */
const mostMerged = 8;

/**
 * Finds the scales and biases that the CPU kernel of ONNX Runtime overwrites (microsoft/onnxruntime issue 29790): where nobody
 * reads a running statistic that a BatchNormalization in training form puts out, the kernel writes it into the input that holds
 * the old one, and only then reads scale and bias. If one of them is the same tensor, `y` is wrong, by more in every run.
 */
function overwrittenParameters(graph: Graph): OverwrittenParameter[] {
  const outputs = new Set(graph.outputs);
  return graph.nodes.filter(isTrainingForm).flatMap((node) => {
    // With momentum 1, the new statistic is the old one.
    if (node.float("momentum", 0.9) === 1) return [];
    return [1, 2].flatMap((output) => {
      const next = node.outputs[output];
      const statistic = node.inputs[output + 2];
      if (!statistic || (next && isRead(next, outputs))) return [];
      return [1, 2].flatMap((input) => {
        const parameter = node.inputs[input];
        if (!parameter) return [];
        const shared = sourceOf(parameter) === sourceOf(statistic);
        return shared || areMerged(parameter, statistic) ? [{ node, parameter, statistic, shared }] : [];
      });
    });
  });
}

/** Whether nobody reads the running statistics of a BatchNormalization. */
export const hidesStatistics = (
  { outputs: [, mean, variance] }: Node,
  outputs: ReadonlySet<Value>,
): boolean => ![mean, variance].some((value) => value && isRead(value, outputs));

const isRead = (value: Value, outputs: ReadonlySet<Value>): boolean =>
  value.uses.size > 0 || outputs.has(value);

/** The value that a chain of Identity nodes copies: ONNX Runtime makes no copies for them. */
function sourceOf(value: Value): Value {
  let source = value;
  for (let next: Value | null | undefined = value; next; ) {
    source = next;
    next = next.producer?.op === "Identity" ? next.producer.inputs[0] : undefined;
  }
  return source;
}

function areMerged(one: Value, other: Value): boolean {
  const [a, b] = [constantTensor(sourceOf(one)), constantTensor(sourceOf(other))];
  if (!a || !b || a.size > mostMerged || a.type !== b.type || `${a.dims}` !== `${b.dims}`) return false;
  const others = b.numbers();
  return a.numbers().every((number, i) => Object.is(number, others[i]));
}

/** Says which nodes are computed wrongly, and what to do, for the caller's own sessions. */
export function overwrittenText(graph: Graph): string[] {
  const byNode = new Map<Node, OverwrittenParameter>();
  for (const found of overwrittenParameters(graph)) byNode.set(found.node, byNode.get(found.node) ?? found);
  return [...byNode.values()].map(({ node, parameter, statistic, shared }) => {
    const [scale, , mean] = [node.inputs[1], node.inputs[2], node.inputs[3]];
    const own = parameter === scale ? "scale" : "bias";
    const its = statistic === mean ? "mean" : "variance";
    const how = shared ? "is also" : "equals";
    return `BatchNormalization "${node.label}" is in training form and its ${own} ${how} its running ${its}: ONNX Runtime computes it wrongly on the CPU, by more in every run (docs/runtime-faults.md): make its running statistics outputs of the model, or set its momentum to 1`;
  });
}
