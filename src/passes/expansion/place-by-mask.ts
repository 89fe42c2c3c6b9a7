import type { DimensionOptions } from "../../analysis/dimensions.ts";
import { inferShapes } from "../../analysis/infer.ts";
import { constantTensor } from "../../analysis/probe-model.ts";
import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Node, Value } from "../../graph/node.ts";
import { replaceNode } from "../../graph/replace-node.ts";
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
 * a Slice of more of them. A number repeated for all places is chosen as it is.
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
    for (const placement of placements) replaceNode(graph, placement.node, [placed(emit, placement)]);
    return changes(
      placements.length,
      "placement",
      "the shape of the data, or of what is placed, is not known",
    );
  },
});

interface Placement {
  readonly node: Node;
  readonly data: Typed;
  readonly mask: Typed;
  /** Rows to place, of which the first ones are taken; or a single number for all places. */
  readonly rows: Typed;
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
  const rows = updates && sourceOf(updates);
  const known = (value: Value | null | undefined): value is Typed =>
    value?.type !== undefined && value.shape !== undefined;
  return known(data) && known(mask) && known(rows) && size(rows) > 0 ? { node, data, mask, rows } : undefined;
}

/** What a ScatterND places: the tensor whose first rows are sliced out, or a number that is repeated. */
function sourceOf(updates: Value): Value | undefined {
  const expanded = maker(updates, "Expand")?.inputs[0];
  if (expanded && size(expanded) === 1) return expanded;
  const slice = maker(updates, "Slice");
  if (!slice) return updates;
  const [source, start, , axes, steps] = slice.inputs;
  const at = (value: Value | null | undefined, otherwise: number) =>
    value ? constantTensor(value)?.numbers().join() : `${otherwise}`;
  return at(start, -1) === "0" && at(axes, 0) === "0" && at(steps, 1) === "1"
    ? (source ?? undefined)
    : undefined;
}

const size = ({ shape }: Value): number => (shape ? elementCount(shape) : Number.NaN);

function placed(emit: Emit, { data, mask, rows }: Placement): Typed {
  const choose = (where: Typed, chosen: Typed): Typed => emit.where(atEnd(emit, where, data), chosen, data);
  if (size(rows) === 1) return choose(mask, emit.reshape(rows, []));
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
  return choose(places, emit.gather(table, emit.reshape(row, places.shape)));
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
