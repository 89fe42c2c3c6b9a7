import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Node } from "../../graph/node.ts";
import { dimAt, sameShape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { permutes } from "./blocked-layout.ts";

/**
 * A weight [O, I, height, width] in the order [O/block, I/block, height, width, I block, O block]; its shape stays.
 *
 * A Transpose is slow where its innermost axis moves: two steps, of which the second moves whole blocks of outputs, are three
 * times as fast as one. ONNX Runtime would join two Transposes; a Gather of all positions keeps them apart. The gradient to the
 * image reads the weight with its positions reversed, which this Gather does as well: eight times as fast as the Slice.
 */
export function weightInBlocks(g: Emit, w: Typed, block: number): Typed {
  return g.once(`blocks of weight ${w.name}`, () => {
    const source = flippedFrom(w);
    const [given, read, ...kernel] = (source ?? w).shape as [number, number, ...number[]];
    const positions = elementCount(kernel);
    // [columns, positions, rows]: w has rows × columns kernels.
    const columnsFirst = source
      ? g.transpose(g.reshape(source, [given, read, positions]), [0, 2, 1])
      : g.reshape(g.transpose(g.reshape(w, [given, read * positions])), [read, positions, given]);
    const [columns, , rows] = columnsFirst.shape as [number, number, number];
    const order = Array.from({ length: positions }, (_, i) => i);
    const ordered = g.gather(columnsFirst, g.int64s(source ? order.toReversed() : order), 1);
    const split = g.reshape(ordered, [columns / block, block, positions, rows / block, block]);
    return g.reshape(g.transpose(split, [3, 0, 2, 1, 4]), w.shape);
  });
}

/** The kernel of which w is the flipped one: inputs and outputs exchanged, every position reversed. */
function flippedFrom({ producer, shape }: Typed): Typed | undefined {
  const exchanged = producer?.inputs[0]?.producer;
  const source = exchanged?.inputs[0];
  if (!source?.shape || !producer || !reversesPositions(producer, shape)) return undefined;
  return exchanged && permutes(exchanged, [1, 0, 2, 3]) ? typed(source) : undefined;
}

/** Whether a node reverses a weight of this shape along every axis behind inputs and outputs. */
function reversesPositions(node: Node, shape: readonly number[]): boolean {
  const [data, , , axes, steps] = node.inputs;
  if (node.op !== "Slice" || !data?.shape || !sameShape(data.shape, shape)) return false;
  const reversed = axes?.initializer?.numbers().toSorted() ?? [];
  const kernel = [2, 3].filter((axis) => dimAt(shape, axis) > 1);
  return sameShape([...reversed], kernel) && !!steps?.initializer?.numbers().every((step) => step === -1);
}
