import type { Node } from "../../graph/node.ts";
import { isHalf } from "../../onnx/data-types.ts";
import { changes, definePass } from "../pass.ts";
import { computeIn } from "./compute-in.ts";

/** Operators that ONNX Runtime's CPU runs on half numbers, because they compute nothing. */
const movesOnly: ReadonlySet<string> = new Set(["Cast", "Identity", "Reshape", "Transpose"]);

/**
 * Computes half numbers in float32, and rounds each result.
 *
 *     y = Add(a: float16, b: float16)  →  y = float16(Add(float(a), float(b)))
 */
export const halfInFloat = definePass({
  name: "half-in-float",
  options: {},
  run(graph, _options, { emit }) {
    const isOfHalf = ({ op, inputs, outputs }: Node) =>
      !movesOnly.has(op) && [...inputs, ...outputs].some((value) => isHalf(value?.type));
    const nodes = graph.sorted().filter(isOfHalf);
    for (const node of nodes)
      computeIn(graph, emit, node, { type: "float", isOther: ({ type }) => isHalf(type) });
    return changes(nodes.length, "node", "no operator reads or returns float16 or bfloat16");
  },
});
