import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";

/** The name for an input of a written graph: the wanted one, or with `sorth/` in front if it is taken. */
export function inputName(graph: Graph, wanted: string): string {
  return graph.value(wanted) ? graph.freshName(`sorth/${wanted}`) : wanted;
}

/**
 * Makes a value a graph output of the wanted name, or with `sorth/` in front if another value bears it. A value inside the
 * graph that bears it only because a node of the model does gives it up.
 */
export function nameOutput(graph: Graph, emit: Emit, value: Typed, wanted: string): Typed {
  const reusable = value.producer && !graph.outputs.includes(value);
  const output = reusable ? value : emit.identity(value);
  if (output.name !== wanted) {
    const holder = graph.value(wanted);
    if (holder?.producer && !graph.outputs.includes(holder)) {
      graph.rename(holder, graph.freshName(`sorth/inner/${wanted}`));
    }
    graph.rename(output, inputName(graph, wanted));
  }
  graph.addOutput(output);
  return output;
}
