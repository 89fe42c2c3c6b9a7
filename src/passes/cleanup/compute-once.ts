import { drawingOperators } from "../../analysis/drawing-operators.ts";
import type { Attribute } from "../../graph/attribute.ts";
import type { Node, Value } from "../../graph/node.ts";
import { changes, defineGraphPass } from "../pass.ts";

/**
 * Computes nothing twice: of nodes with the same operator, inputs and attributes the first one stays, and all read it.
 *
 *     a = Mul(dy, x); b = Mul(dy, x); dx = Add(a, b)  →  a = Mul(dy, x); dx = Add(a, a)
 *
 * ONNX Runtime does the same when it opens the graph; a file that another runtime reads should not depend on it. Results are the
 * same bits. A node whose output the graph returns stays, because the output keeps its name.
 */
export const computeOnce = defineGraphPass({
  name: "compute-once",
  options: {},
  run(graph) {
    const firsts = new Map<string, Node>();
    const again = new Set<Node>();
    const returned = new Set(graph.outputs);
    for (const node of graph.sorted()) {
      const key = keyOf(node);
      const first = key === undefined ? undefined : firsts.get(key);
      if (key !== undefined && !first) firsts.set(key, node);
      if (!first || node.outputs.some((output) => output && returned.has(output))) continue;
      node.outputs.forEach((output, i) => {
        const same = first.outputs[i];
        if (output && same) graph.replaceUses(output, same);
      });
      again.add(node);
    }
    graph.removeNodes(again);
    return changes(again.size, "node", "nothing is computed twice");
  },
});

/** Operators whose results differ between runs with the same inputs. */
const varying = /Dropout/;

/** What a node computes, as text; undefined where equal nodes may compute different things. */
function keyOf({ op, domain, opType, attributes, inputs, outputs, captures }: Node): string | undefined {
  // Functions of a file may draw numbers, and the operator of shards stands where a program is cut.
  if (domain !== "" && domain !== "com.microsoft") return undefined;
  if (captures.length > 0 || drawingOperators.has(op) || varying.test(opType)) return undefined;
  const texts: string[] = [];
  for (const [name, attribute] of attributes) {
    const text = textOf(attribute);
    if (text === undefined) return undefined;
    texts.push(`${name}=${text}`);
  }
  const parts = [
    op,
    ...texts.sort(),
    ...inputs.map((input) => (input ? (shapeText(input) ?? input.name) : "")),
    outputs.map((output) => (output ? 1 : 0)),
  ];
  return parts.join("\n");
}

/** The numbers of a short list of whole numbers, such as a shape, of which a file holds many that are equal. */
function shapeText({ initializer, declared }: Value): string | undefined {
  if (initializer?.type !== "int64" || initializer.size > 16 || declared) return undefined;
  return `${initializer.dims}: ${initializer.data}`;
}

const textOf = ({ kind, value }: Attribute): string | undefined =>
  kind === "tensor" || kind === "graph" || kind === "other" ? undefined : JSON.stringify(value);
