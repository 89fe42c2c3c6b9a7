import { stepPrefix } from "../analysis/block-nodes.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";

/** Prefix of the name of an input or output if the model has the name already (DESIGN §6). */
export const takenPrefix = "sorth/";

/** The name for an input of a written graph: the wanted one, or with a prefix in front if it is taken. */
export function inputName(graph: Graph, wanted: string, taken: string = takenPrefix): string {
  return graph.value(wanted) ? graph.freshName(`${taken}${wanted}`) : wanted;
}

/**
 * Makes a value a graph output of the wanted name. If an inner value has that name, the inner value is renamed; if an
 * input or output has it, the new output gets a prefix in front.
 */
export function nameOutput(
  graph: Graph,
  emit: Emit,
  value: Typed,
  wanted: string,
  taken: string = takenPrefix,
): Typed {
  const reusable = value.producer && !graph.outputs.includes(value);
  const output = reusable ? value : emit.identity(value);
  if (output.name !== wanted) {
    const holder = graph.value(wanted);
    if (holder?.producer && !graph.outputs.includes(holder)) {
      graph.rename(holder, graph.freshName(`${stepPrefix}inner/${wanted}`));
    }
    graph.rename(output, inputName(graph, wanted, taken));
  }
  graph.addOutput(output);
  return output;
}
