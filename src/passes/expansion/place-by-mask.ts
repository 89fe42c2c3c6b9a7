import type { DimensionOptions } from "../../analysis/dimensions.ts";
import { inferShapes } from "../../analysis/infer.ts";
import { constantTensor } from "../../analysis/probe-model.ts";
import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Node, Value } from "../../graph/node.ts";
import { replaceNode } from "../../graph/replace-node.ts";
import type { Shape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { changes, definePass, unchanged } from "../pass.ts";

/**
 * Puts values where a mask is true by a choice between two tensors, whose shapes do not depend on the data. Models of images and texts put
 * the features of an image in the place of its tokens so (masked_scatter), and `x[mask] = v` is the same. x: [2, 8, 4], mask: [2, 8].
 *
 *     y = ScatterND(x, Transpose(NonZero(mask)), rows)
 *     →  n = Max(CumSum(Cast(mask)) - 1, 0); y = Where(mask, Gather(rows, n), x)
 *
 * Place k takes row k, where ScatterND needs as many rows as places: in every run that it accepts, the numbers are the same. `rows` may be
 * a Slice of more of them. A number or a row that is repeated for all places (a mask token) is chosen as it is.
 */
export const placeByMask = definePass({
  name: "place-by-mask",
  options: {
    /** Sizes of the graph's free dimensions. */
    dimensions: {} as DimensionOptions,
  },
  async run(graph, { dimensions }, { emit, probe }) {
    const found = graph.nodes.filter((node) => maskOf(node));
    if (found.length === 0) return unchanged("no ScatterND writes where a mask is true");
    await inferShapes(graph, probe, dimensions);
    const placements = found.flatMap((node) => placementOf(node) ?? []);
    for (const { node, write } of placements) replaceNode(graph, node, [write(emit)]);
    return changes(
      placements.length,
      "placement",
      "the shape of the data, or of what is placed, is not known",
    );
  },
});

interface Placement {
  readonly node: Node;
  /** Writes the result of the node in another way. */
  readonly write: (emit: Emit) => Typed;
}

const maker = (value: Value | null | undefined, op: string): Node | undefined =>
  value?.producer?.op === op ? value.producer : undefined;

/** The mask where a ScatterND writes. */
function maskOf(node: Node): Value | undefined {
  if (node.op !== "ScatterND" || node.string("reduction", "none") !== "none") return undefined;
  const turned = maker(node.inputs[1], "Transpose");
  const order = turned?.ints("perm");
  // Without an order of its own, a Transpose reverses the axes.
  if (order && order.join() !== "1,0") return undefined;
  return maker(turned?.inputs[0], "NonZero")?.inputs[0] ?? undefined;
}

function placementOf(node: Node): Placement | undefined {
  const [data, , updates] = node.inputs;
  const mask = maskOf(node);
  if (!updates || !isKnown(data) || !isKnown(mask)) return undefined;
  const row = repeatedIn(updates);
  const filled = row && whereWhole(mask, row.shape, data.shape);
  if (filled)
    return { node, write: (emit) => choice(emit, filled(emit), emit.reshape(row, inner(row.shape)), data) };
  const rows = sourceOf(updates);
  return isKnown(rows) && size(rows) > 0
    ? { node, write: (emit) => oneByOne(emit, data, mask, rows) }
    : undefined;
}

const isKnown = (value: Value | null | undefined): value is Typed =>
  value?.type !== undefined && value.shape !== undefined;

/** The tensor that a ScatterND places, or whose first numbers are sliced out. */
function sourceOf(updates: Value): Value | undefined {
  const slice = maker(updates, "Slice");
  if (!slice) return updates;
  const [source, start, , axes, steps] = slice.inputs;
  const at = (value: Value | null | undefined, otherwise: number) =>
    value ? constantTensor(value)?.numbers().join() : `${otherwise}`;
  return at(start, -1) === "0" && at(axes, 0) === "0" && at(steps, 1) === "1"
    ? (source ?? undefined)
    : undefined;
}

/** What an Expand repeats along new axes in front, if its own axes cannot grow, as it is or in one line. */
function repeatedIn(updates: Value): Typed | undefined {
  const line = maker(updates, "Reshape");
  const flat = line && constantTensor(line.inputs[1])?.numbers().join() === "-1" ? line.inputs[0] : updates;
  const row = maker(flat, "Expand")?.inputs[0];
  return isKnown(row) && inner(row.shape).every((length) => length > 1) ? row : undefined;
}

/** A shape without the axes of length 1 in front. */
function inner(shape: Shape): Shape {
  const first = shape.findIndex((length) => length !== 1);
  return first < 0 ? [] : shape.slice(first);
}

/** A mask of places that a row of this shape fills; undefined if there is none. */
function whereWhole(mask: Typed, row: Shape, data: Shape): ((emit: Emit) => Typed) | undefined {
  const whole = narrowed(mask);
  const fits = (rank: number) => inner(row).length === 0 || `${data.slice(rank)}` === `${inner(row)}`;
  if (whole && fits(whole.rank)) return whole.read;
  return fits(mask.shape.length) ? () => mask : undefined;
}

const size = ({ shape }: Value): number => (shape ? elementCount(shape) : Number.NaN);

const choice = (emit: Emit, where: Typed, chosen: Typed, data: Typed): Typed =>
  emit.where(atEnd(emit, where, data), chosen, data);

/** Place k takes row k. */
function oneByOne(emit: Emit, data: Typed, mask: Typed, rows: Typed): Typed {
  const whole = narrowed(mask);
  const places =
    whole && size(rows) % elementCount(data.shape.slice(whole.rank)) === 0 ? whole.read(emit) : mask;
  const behind = data.shape.slice(places.shape.length);
  const table = emit.reshape(rows, [size(rows) / elementCount(behind), ...behind]);
  const length = [elementCount(places.shape)];
  const whole32 = (value: number) => emit.constant("int32", [], Int32Array.of(value));
  const flat = emit.cast(emit.reshape(places, length), "int32");
  const count = emit.op("CumSum", [flat, whole32(0)], length);
  const row = emit.op("Max", [emit.op("Sub", [count, whole32(1)], length), whole32(0)], length);
  return choice(emit, places, emit.gather(table, emit.reshape(row, places.shape)), data);
}

/** A mask as wide as the data on all axes, or 1 on those that it lacks at the end. */
const atEnd = (emit: Emit, mask: Typed, { shape }: Typed): Typed =>
  emit.reshape(mask, [...mask.shape, ...shape.slice(mask.shape.length).map(() => 1)]);

/** The mask of whole rows, if one was repeated along the last axes: a row is read at once then. */
function narrowed(mask: Typed): { rank: number; read(emit: Emit): Typed } | undefined {
  let from = maker(mask, "Expand")?.inputs[0];
  while (maker(from, "Cast")?.inputs[0]?.type === "bool") from = maker(from, "Cast")?.inputs[0];
  const shape = from?.shape;
  if (!from || !shape || from.type !== "bool" || shape.length !== mask.shape.length) return undefined;
  const value = typed(from);
  let rank = shape.length;
  while (rank > 1 && shape[rank - 1] === 1) rank--;
  const front = shape.slice(0, rank);
  if (front.join() !== mask.shape.slice(0, rank).join()) return undefined;
  return { rank, read: (emit) => emit.reshape(value, front) };
}
