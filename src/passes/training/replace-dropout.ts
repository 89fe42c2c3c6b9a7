import { typedOrHidden } from "../../analysis/obstacle.ts";
import { SorthError } from "../../errors.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { changed, counted, definePass, unchanged } from "../pass.ts";

/** A mask that the caller feeds at every step: 0 or 1, where 1 (keep) has the probability 1 − ratio. */
export interface DropoutMask {
  readonly input: Value;
  readonly ratio: number;
}

/** Which Dropout nodes drop: `all`, as in training; `as-is`, those in training mode; `none`, as in inference. */
export type DropoutMode = "all" | "as-is" | "none";

/**
 * Replaces Dropout nodes by a product with a mask. The mask is an input `<y>.mask` of y's type and shape. Nodes that do nothing
 * (inference form or ratio 0) become the identity.
 *
 *     y = Dropout(x, ratio)  →  y = x·(mask · 1/(1 − ratio))
 *
 * For a graph whose shapes are inferred and whose constants are folded.
 * @returns the masks that were added
 */
export const replaceDropout = definePass({
  name: "replace-dropout",
  options: {
    /** Which nodes drop. */
    mode: "all" as DropoutMode,
  },
  run(graph, { mode }, { emit }) {
    const nodes = graph.nodes.filter(({ op }) => op === "Dropout");
    const masks = nodes.flatMap((node) => replace(graph, emit, node, mode) ?? []);
    return nodes.length > 0
      ? changed(`${counted(nodes.length, "Dropout node")}, ${masks.length} with a mask`, masks)
      : unchanged("there is no Dropout", masks);
  },
});

/** @returns the mask of a node that drops */
function replace(graph: Graph, emit: Emit, node: Node, mode: DropoutMode): DropoutMask | undefined {
  const [x, ratioInput, trainingInput] = node.inputs;
  const [y, maskOutput] = node.outputs;
  if (!x || !y) throw new SorthError(`Dropout node "${node.label}" has no input or no output`);
  const ratio = inputNumber(node, ratioInput, 0.5);
  const training = mode === "all" || (mode === "as-is" && inputNumber(node, trainingInput, 0) !== 0);
  const drops = ratio > 0 && training;
  if (ratio >= 1)
    throw new SorthError(`Dropout node "${node.label}" has the ratio ${ratio}; it must be below 1`);
  const { shape, type } = typedOrHidden(x);
  const input = drops ? graph.addInput(graph.freshName(`${y.name}.mask`), type, shape) : undefined;
  graph.replaceUses(y, input ? emit.mul(x, emit.mul(input, 1 / (1 - ratio))) : x, { outputs: true });
  if (maskOutput) {
    const kept = input ? emit.cast(input, "bool") : emit.filled(1, shape, "bool");
    graph.replaceUses(maskOutput, kept, { outputs: true });
  }
  graph.removeNodes(new Set([node]));
  return input && { input, ratio };
}

/** The number of an optional input. */
function inputNumber(node: Node, value: Value | null | undefined, fallback: number): number {
  if (!value) return fallback;
  const number = value.initializer?.numbers()[0];
  if (number === undefined) {
    throw new SorthError(`"${value.name}" of Dropout node "${node.label}" must be a constant`);
  }
  return number;
}
