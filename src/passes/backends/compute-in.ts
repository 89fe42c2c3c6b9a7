import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import type { DataTypeName } from "../../onnx/data-types.ts";

/**
 * Computes a node in another type: in place of the inputs and outputs of some types it reads copies of the new one, and its results are
 * converted back.
 * @param isOther - whether a value has such a type
 */
export function computeIn(
  graph: Graph,
  g: Emit,
  node: Node,
  { type, isOther }: { readonly type: DataTypeName; readonly isOther: (value: Value) => boolean },
): void {
  node.inputs.forEach((x, index) => {
    if (!x || !isOther(x)) return;
    graph.setInput(
      { node, index },
      g.once(`${x.name} in ${type}`, () => g.cast(x, type)),
    );
  });
  for (const y of node.outputs) if (y && isOther(y)) retype(graph, g, typed(y), type);
}

/**
 * Gives a result, or an input of the graph, another type. Its readers, and the graph's outputs, get a copy of the type that it had. The
 * copy takes a result's name; an input keeps its own, by which it is fed.
 * @returns the copy
 */
export function retype(graph: Graph, g: Emit, value: Typed, type: DataTypeName): Typed {
  const { name, type: had } = value;
  if (value.producer) graph.rename(value, graph.freshName(`${name}.${type}`));
  value.type = type;
  const copy = g.cast(value, had);
  graph.replaceUses(value, copy, { outputs: true, except: new Set(copy.producer ? [copy.producer] : []) });
  graph.rename(copy, value.producer ? name : graph.freshName(`${name}.${had}`));
  return copy;
}
