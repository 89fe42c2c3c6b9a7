import { SorthError } from "../../errors.ts";
import type { Emit } from "../../graph/emit.ts";
import { typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Value } from "../../graph/node.ts";

/** A mask that whoever runs the graph feeds at every step: 0 or 1, kept with probability 1 − ratio. */
export interface DropoutMask {
  readonly input: Value;
  readonly ratio: number;
}

/**
 * Replaces Dropout nodes by y = x·mask/(1 − ratio) with the mask as a graph input named `<y>.mask`, float, in y's
 * shape; those that do nothing (inference form or ratio 0) by the identity.
 *
 * @param graph - shapes inferred and constants folded
 * @param run - "all": every Dropout drops, as in training; "as-is": only those in training mode; "none": as in inference
 */
export function replaceDropout(graph: Graph, emit: Emit, run: "all" | "as-is" | "none"): DropoutMask[] {
  const masks: DropoutMask[] = [];
  for (const node of graph.nodes.filter(({ op }) => op === "Dropout")) {
    const [x, ratioInput, trainingInput] = node.inputs;
    const [y, maskOutput] = node.outputs;
    if (!x || !y) throw new SorthError(`Dropout node "${node.label}" has no input or no output`);
    const constant = (value: Value | null | undefined, fallback: number): number => {
      if (!value) return fallback;
      const number = value.initializer?.numbers()[0];
      if (number === undefined) {
        throw new SorthError(`"${value.name}" of Dropout node "${node.label}" must be a constant`);
      }
      return number;
    };
    const ratio = constant(ratioInput, 0.5);
    const training = run === "all" || (run === "as-is" && constant(trainingInput, 0) !== 0);
    const drops = ratio > 0 && training;
    if (ratio >= 1)
      throw new SorthError(`Dropout node "${node.label}" has the ratio ${ratio}; it must be below 1`);
    const { shape, type } = typed(x);
    if (drops) {
      const input = graph.addInput(graph.freshName(`${y.name}.mask`), type, shape);
      masks.push({ input, ratio });
      graph.replaceUses(y, emit.mul(x, emit.mul(input, 1 / (1 - ratio))), { outputs: true });
      if (maskOutput) graph.replaceUses(maskOutput, emit.cast(input, "bool"), { outputs: true });
    } else {
      graph.replaceUses(y, x, { outputs: true });
      if (maskOutput) graph.replaceUses(maskOutput, emit.filled(1, shape, "bool"), { outputs: true });
    }
    graph.removeNodes(new Set([node]));
  }
  return masks;
}
