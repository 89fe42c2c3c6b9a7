import type { Emit } from "../../graph/emit.ts";
import { typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { normalizeAxis, type Shape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { changed, counted, definePass, unchanged } from "../pass.ts";

/**
 * Sums and means over the leading axes become one product with a vector: ONNX Runtime's product of one row adds four rows at a
 * time, so it is faster than its ReduceSum, and its error for 1,024 rows is that of ReduceSum for 256 (docs/decisions.md).
 * A sum in two stages that together have so few rows is one product.
 *
 *     y = ReduceSum(x, [0]); x: [M, C]  →  y = MatMul(1, x); 1: [M]
 */
export const sumsAsProducts = definePass({
  name: "sums-as-products",
  options: {},
  run(graph, _options, { emit }) {
    const doomed = new Set<Node>();
    let sums = 0;
    // Backwards, so that a second stage takes its first one along.
    for (const node of [...graph.nodes].reverse()) {
      const sum = doomed.has(node) ? undefined : leadingSum(graph, node);
      if (!sum) continue;
      writeProduct(graph, emit, node, sum);
      for (const replaced of sum.nodes) doomed.add(replaced);
      sums++;
    }
    graph.removeNodes(doomed);
    return sums > 0 ? changed(counted(sums, "sum")) : unchanged("there are no sums over leading axes");
  },
});

/** A sum or a mean over the first axes of x, and the nodes that compute it. */
interface LeadingSum {
  readonly x: Value;
  readonly shape: Shape;
  /** How many axes are summed over. */
  readonly axes: number;
  readonly nodes: readonly Node[];
}

/** Most rows of one product. */
const mostRows = 1024;
/** With fewer columns, and fewer numbers, ReduceSum is as fast. */
const leastColumns = 8;
const leastNumbers = 2048;

function leadingSum(graph: Graph, node: Node): LeadingSum | undefined {
  const one = reduction(node);
  if (!one) return undefined;
  const alone = asLeadingSum(one.x, one.axes, [node]);
  // The stage before, if this node alone reads its result.
  const first = one.x.producer;
  const before = first && first.op === node.op && one.x.uses.size === 1 ? reduction(first) : undefined;
  if (!first || !before || graph.outputs.includes(one.x)) return alone;
  const kept = before.shape
    .map((_, axis) => axis)
    .filter((axis) => before.keepdims || !before.axes.includes(axis));
  const axes = new Set([...before.axes, ...one.axes.map((axis) => kept[axis] ?? axis)]);
  return asLeadingSum(before.x, [...axes], [node, first]) ?? alone;
}

/** A ReduceSum or ReduceMean of float32 over axes that are known. */
function reduction(node: Node): { x: Value; shape: Shape; axes: number[]; keepdims: boolean } | undefined {
  const [x, axes] = node.inputs;
  if ((node.op !== "ReduceSum" && node.op !== "ReduceMean") || x?.type !== "float" || !x.shape)
    return undefined;
  const { shape } = x;
  const numbers = axes?.initializer?.numbers().map((axis) => normalizeAxis(axis, shape.length));
  return numbers && { x, shape, axes: [...numbers], keepdims: node.int("keepdims", 1) !== 0 };
}

function asLeadingSum(x: Value, axes: readonly number[], nodes: readonly Node[]): LeadingSum | undefined {
  const shape = x.shape ?? [];
  const leading = axes.length > 0 && axes.every((axis) => axis < axes.length);
  const [rows, columns] = [shape.slice(0, axes.length), shape.slice(axes.length)].map(elementCount) as [
    number,
    number,
  ];
  const worthwhile =
    columns >= leastColumns && rows * columns >= leastNumbers && rows > 1 && rows <= mostRows;
  return leading && worthwhile ? { x, shape, axes: axes.length, nodes } : undefined;
}

function writeProduct(graph: Graph, g: Emit, node: Node, { x, shape, axes }: LeadingSum): void {
  const result = typed(node.outputs[0] as Value);
  const [rows, columns] = [shape.slice(0, axes), shape.slice(axes)].map(elementCount) as [number, number];
  const weight = node.op === "ReduceMean" ? 1 / rows : 1;
  const weights = g.once(`${rows} times ${weight}`, () =>
    g.numbers(Array<number>(rows).fill(weight), [rows], "float"),
  );
  const product = g.matMul(weights, g.reshape(x, [rows, columns]));
  graph.replaceUses(result, g.reshape(product, result.shape), { outputs: true });
}
