import { bodiesOf } from "../graph/bodies.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node } from "../graph/node.ts";
import type { onnx } from "../onnx/schema.js";

/** Operators that draw random numbers in every run; Dropout, which draws in its training form alone, is not among them. */
export const drawingOperators: ReadonlySet<string> = new Set([
  ...["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"],
  ...["Bernoulli", "Multinomial"],
]);

/** Whether a node, or one in its bodies, draws random numbers. */
export const drawsNumbers = ({ op, attributes }: Node): boolean =>
  drawingOperators.has(op) ||
  [...attributes.values()].some(({ kind, value }) => kind === "graph" && drawsInBody(value));

const drawsInBody = ({ node }: onnx.GraphProto.$Properties): boolean =>
  (node ?? []).some(
    (one) => (!one.domain && drawingOperators.has(one.opType ?? "")) || bodiesOf(one).some(drawsInBody),
  );

/**
 * Gives every node of a graph that draws random numbers a seed of its own, so that each new session of the graph draws the same.
 * Nodes in bodies and functions keep drawing anew.
 */
export function seedDraws(graph: Graph): void {
  let seed = 1;
  for (const { op, attributes } of graph.nodes) {
    if (drawingOperators.has(op) && !attributes.has("seed")) {
      attributes.set("seed", { kind: "float", value: seed++ });
    }
  }
}
