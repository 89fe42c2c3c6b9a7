import { checkFields } from "../check-arguments.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { Attribute } from "./attribute.ts";
import type { Graph } from "./graph.ts";
import type { Node, Value } from "./node.ts";

/** Constants of up to this many elements are printed with their numbers. */
const shown = 8;

/**
 * A graph as readable text: inputs, constants, then one line per node in topological order.
 *
 * @example
 * printGraph(graph);
 * // input %x: float[N, 4]
 * // const %w: float[7, 4]
 * // %y: float[5, 7] = Gemm(%x, %w) {transB=1}
 * // return %y
 */
export function printGraph(graph: Graph): string {
  checkFields("a graph is what graphOf gives", graph, "nodes", "values");
  return [
    ...graph.inputs.filter((input) => !input.initializer).map((input) => `input ${typedName(input)}`),
    ...graph.initializers.map((value) => `const ${typedName(value)}${numbers(value.initializer)}`),
    ...graph.sorted().map(printNode),
    `return ${graph.outputs.map(name).join(", ")}`,
  ].join("\n");
}

/** One node as {@link printGraph} prints it. */
export function printNode(node: Node): string {
  const outputs = node.outputs.map((output) => (output ? typedName(output) : "_")).join(", ");
  const attributes = [...node.attributes].map(([key, attribute]) => `${key}=${attributeText(attribute)}`);
  const captures = node.captures.length > 0 ? ` captures ${node.captures.map(name).join(", ")}` : "";
  const suffix = attributes.length > 0 ? ` {${attributes.join(", ")}}` : "";
  return `${outputs} = ${node.op}(${node.inputs.map(name).join(", ")})${suffix}${captures}`;
}

const name = (value: Value | null): string => (value ? `%${value.name}` : "_");

function typedName(value: Value): string {
  const dims = value.shape ?? value.declared;
  const shape = dims ? `[${dims.map((dim) => dim ?? "?").join(", ")}]` : "[…]";
  return value.type ? `${name(value)}: ${value.type}${shape}` : `${name(value)}: ?`;
}

function numbers(tensor: Tensor | undefined): string {
  if (!tensor || tensor.size > shown || tensor.type === "string") return "";
  const texts = tensor.numbers().map(numberText);
  return ` = ${tensor.dims.length === 0 ? texts.join() : `[${texts.join(", ")}]`}`;
}

/** A number with at most six significant digits. */
const numberText = (value: number): string =>
  Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));

function attributeText(attribute: Attribute): string {
  switch (attribute.kind) {
    case "int":
    case "float":
      return numberText(attribute.value);
    case "string":
      return JSON.stringify(attribute.value);
    case "ints":
    case "floats":
      return `[${attribute.value.map(numberText).join(", ")}]`;
    case "strings":
      return JSON.stringify(attribute.value);
    case "tensor":
      return `${attribute.value.type}[${attribute.value.dims.join(", ")}]${numbers(attribute.value)}`;
    case "graph":
      return `graph of ${attribute.value.node?.length ?? 0} nodes`;
    case "other":
      return "…";
  }
}
