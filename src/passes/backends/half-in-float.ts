import type { Emit } from "../../graph/emit.ts";
import { typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { isHalf } from "../../onnx/data-types.ts";
import { changes, definePass } from "../pass.ts";

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
    for (const node of nodes) computeInFloat(graph, emit, node);
    return changes(nodes.length, "node", "no operator reads or returns float16 or bfloat16");
  },
});

function computeInFloat(graph: Graph, g: Emit, node: Node): void {
  node.inputs.forEach((x, index) => {
    if (!x || !isHalf(x.type)) return;
    graph.setInput(
      { node, index },
      g.once(`${x.name} in float`, () => g.cast(x, "float")),
    );
  });
  for (const y of node.outputs) if (y && isHalf(y.type)) roundResult(graph, g, y);
}

/** Makes a value float32; its readers read the rounded copy, which has its name. */
function roundResult(graph: Graph, g: Emit, y: Value): void {
  const { name, type } = typed(y);
  graph.rename(y, graph.freshName(`${name}.float`));
  y.type = "float";
  const rounded = g.cast(y, type);
  graph.replaceUses(y, rounded, {
    outputs: true,
    except: new Set(rounded.producer ? [rounded.producer] : []),
  });
  graph.rename(rounded, name);
}
