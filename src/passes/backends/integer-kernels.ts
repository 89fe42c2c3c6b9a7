import { constantTensor } from "../../analysis/probe-model.ts";
import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { replaceNode } from "../../graph/replace-node.ts";
import { dimAt, normalizeAxis } from "../../graph/shapes.ts";
import { listed } from "../../graph/stored-lists.ts";
import type { DataTypeName } from "../../onnx/data-types.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { changes, definePass } from "../pass.ts";
import { computeIn } from "./compute-in.ts";
import { inputOf } from "./missing/written-out.ts";
import { movedInputs } from "./moved-inputs.ts";
import { slicePartsOf } from "./slice-parts.ts";

/** What WebGPU moves and compares in these types (ONNX Runtime 1.30); of the other operators it has kernels for floats alone. */
const kernels: Partial<Record<DataTypeName, ReadonlySet<string>>> = {
  bool: new Set(["Reshape", "Unsqueeze", "Flatten", "Gather", "Expand", "Where"]),
  uint8: new Set(["Reshape", "Gather", "Expand"]),
};

/** Bytes wrap around where these exceed them, which floats do not. */
const wraps = new Set(["Add", "Sub", "Mul", "Div", "Mod", "Neg", "ReduceSum", "CumSum"]);

/** Operators on whole numbers without a kernel, in others that have one. */
const written: ReadonlyMap<string, (g: Emit, x: Typed, node: Node) => Typed | undefined> = new Map([
  ["Neg", (g, x) => g.mul(x, -1)],
  ["Abs", (g, x) => g.max(x, g.mul(x, -1))],
  [
    "Mod",
    (g, x, node) => {
      const by = inputOf(node, 1);
      // Div rounds towards 0, so that the rest has the sign of x; without fmod it has that of the divisor.
      const rest = g.sub(x, g.mul(g.div(x, by), by));
      if (node.flag("fmod")) return rest;
      const other = g.add(rest, by);
      const [below, above] = [g.less(rest, 0), g.greater(rest, 0)];
      return g.where(g.less(by, 0), g.where(above, other, rest), g.where(below, other, rest));
    },
  ],
  ["GatherElements", gatherElements],
  [
    "Slice",
    (g, x, node) =>
      slicePartsOf(node)?.reduce((value, { axis, lowest, length, step, turned }) => {
        const places = listed(length, (i) => lowest + (turned ? length - 1 - i : i) * step);
        return g.gather(value, g.constant("int32", [length], places), axis);
      }, x),
  ],
]);

/** The elements at indices along an axis, by their places among all elements. */
function gatherElements(g: Emit, x: Typed, node: Node): Typed | undefined {
  const [, index] = node.inputs;
  const constant = constantTensor(index);
  const given = constant ? g.constant("int32", constant.dims, Int32Array.from(constant.numbers())) : index;
  if (!given?.shape || given.type !== "int32") return undefined;
  const axis = normalizeAxis(node.int("axis", 0), x.shape.length);
  const strides = x.shape.map((_, at) => elementCount(x.shape.slice(at + 1)));
  const indices = g.where(g.less(given, 0), g.add(given, dimAt(x.shape, axis)), given);
  // Where the other axes begin, for each place of the indices.
  const own = given.shape;
  const first = listed(elementCount(own), (place) =>
    own.reduce((sum, dim, at) => {
      const index = Math.floor(place / elementCount(own.slice(at + 1))) % dim;
      return at === axis ? sum : sum + index * dimAt(strides, at);
    }, 0),
  );
  const places = g.add(g.mul(indices, dimAt(strides, axis)), g.constant("int32", own, first));
  return g.gather(g.reshape(x, [elementCount(x.shape)]), places);
}

/**
 * Moves booleans and bytes as floats, which hold them exactly, and writes out operators on int32 where WebGPU has kernels for floats
 * alone.
 *
 *     y = Transpose(mask: bool)   →  y = bool(Transpose(float(mask)))
 *     y = Slice(ids: int32, 1, 4)  →  y = Gather(ids, [1, 2, 3])
 */
export const integerKernels = definePass({
  name: "integer-kernels",
  options: {},
  run(graph, _options, { emit }) {
    const found = graph.sorted().filter((node) => rewrite(graph, emit, node));
    return changes(found.length, "node", "WebGPU has a kernel for each node on whole numbers and booleans");
  },
});

/** @returns whether the node was written in another form */
function rewrite(graph: Graph, g: Emit, node: Node): boolean {
  const [x] = movedInputs(node).map((index) => node.inputs[index]);
  if (!x?.type || !x.shape || node.outputs.some((output) => output && !output.shape)) return false;
  if (x.type === "int32") {
    const value = written.get(node.op)?.(g, typed(x), node);
    if (value) replaceNode(graph, node, [value]);
    return value !== undefined;
  }
  const known = kernels[x.type];
  if (!known || known.has(node.op) || wraps.has(node.op)) return false;
  computeIn(graph, g, node, { type: "float", isOther: ({ type }) => type === x.type });
  return true;
}
