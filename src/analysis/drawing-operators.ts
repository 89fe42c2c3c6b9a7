import type { Graph } from "../graph/graph.ts";

/** Operators that draw random numbers in every run; Dropout, which draws in its training form alone, is not among them. */
export const drawingOperators: ReadonlySet<string> = new Set([
  ...["RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"],
  ...["Bernoulli", "Multinomial"],
]);

/** Gives every node that draws random numbers a seed of its own, so that each new session of the graph draws the same. */
export function seedDraws(graph: Graph): void {
  let seed = 1;
  for (const { op, attributes } of graph.nodes) {
    if (drawingOperators.has(op) && !attributes.has("seed")) {
      attributes.set("seed", { kind: "float", value: seed++ });
    }
  }
}
