import { graphOf } from "../../src/graph/model-graph.ts";
import { printGraph } from "../../src/graph/print.ts";
import type { Model } from "../../src/onnx/model.ts";

/** A printed graph whose inner values are numbered in the order of computation, so that their names do not matter. */
export function printProgram(model: Model): string {
  const graph = graphOf(model);
  const kept = new Set([...graph.inputs, ...graph.outputs].map(({ name }) => name));
  const constants = new Set(graph.initializers.map(({ name }) => name));
  const names = new Map<string, string>();
  return printGraph(graph).replace(/%([^\s,():]+)/g, (whole, name: string) => {
    if (kept.has(name)) return whole;
    if (constants.has(name) && !name.startsWith("sorth/") && !name.startsWith("step/")) return whole;
    const number = names.get(name) ?? String(names.size + 1);
    names.set(name, number);
    return `%${number}`;
  });
}
