import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { changed, defineGraphPass, unchanged } from "../pass.ts";

/** The newest opset in which ONNX Runtime has its kernels for WebGPU. */
export const deviceOpset = 21;

/** Operators that came after {@link deviceOpset}. */
export const newerOperators: ReadonlySet<string> = new Set([
  ...["Attention", "RMSNormalization", "RotaryEmbedding", "Swish", "TensorScatter", "CumProd", "BitCast"],
]);

/** Attributes that operators were given after it. */
const newerAttributes = ["output_dtype", "precision", "round_mode"];

/**
 * Writes a graph in an older opset, in which the device has kernels. What other operators gained since opset 21 is further types only.
 *
 *     opset 24: y = MaxPool(x)  →  opset 21: y = MaxPool(x)
 */
export const lowerOpset = defineGraphPass({
  name: "lower-opset",
  options: {
    /** An older graph stays as it is. */
    target: deviceOpset,
  },
  run(graph, { target }) {
    const from = graph.opset;
    if (from <= target) return unchanged(`the graph is in opset ${from}, no newer than ${target}`);
    const stays = graph.nodes.find((node) => isNewer(node)) ?? brainFloat(graph);
    if (stays) return unchanged(`${stays.op} "${stays.label}" needs opset ${from}`);
    graph.opsets.set("", target);
    return changed(`opset ${from} to ${target}`);
  },
});

const isNewer = ({ domain, opType, attributes }: Node): boolean =>
  domain === "" &&
  (newerOperators.has(opType) ||
    newerAttributes.some((name) => attributes.has(name)) ||
    // Bodies hold operators of their own.
    [...attributes.values()].some(({ kind }) => kind === "graph"));

/** A node on bfloat16, which most operators take since opset 22 alone. */
const brainFloat = (graph: Graph): Node | undefined =>
  graph.nodes.find(({ inputs, outputs }) =>
    [...inputs, ...outputs].some((value) => value?.type === "bfloat16"),
  );
