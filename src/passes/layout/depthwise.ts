import type { Node } from "../../graph/node.ts";
import { dimAt } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import type { RowForm } from "./row-operators.ts";
import { intoImage, intoRows } from "./rows.ts";

/** Depthwise convolutions of larger images stay in the plain layout: memory is their limit, and reordering adds to it. */
export const mostNumbersInBlocks = 2 ** 22;

/**
 * A depthwise convolution between a change to images and one back to rows. Both cost nothing where it runs in ONNX Runtime's
 * blocks of channels, since reordering reads and writes rows as well as images (`block-convolutions`).
 * @param block - how many channels a block has; 0 where ONNX Runtime has no such layout
 * @param trained - names of the trained parameters; ONNX Runtime itself moves kernels that are constant
 */
export function depthwiseForm(node: Node, block: number, trained: ReadonlySet<string>): RowForm | undefined {
  const [x, w] = node.inputs;
  const [y] = node.outputs;
  if (block === 0 || node.op !== "Conv" || x?.type !== "float" || x.shape?.length !== 4) return undefined;
  if (
    !w?.shape ||
    (w.initializer && !trained.has(w.name)) ||
    !y?.shape ||
    node.string("auto_pad", "NOTSET") !== "NOTSET"
  )
    return undefined;
  const [image, channels] = [x.shape, dimAt(x.shape, 1)];
  const depthwise = node.int("group", 1) === channels && dimAt(w.shape, 0) === channels && channels > 1;
  const numbers = Math.max(elementCount(image), elementCount(y.shape));
  if (!depthwise || channels % block > 0 || numbers === 0 || numbers > mostNumbersInBlocks) return undefined;
  const result = y.shape;
  return {
    ...{ inputs: [0], rows: true, perChannel: false },
    emit: (g, read) => {
      const inputs = [intoImage(g, read(0), image), ...node.inputs.slice(1)];
      const attributes = Object.fromEntries(node.attributes);
      return [intoRows(g, g.op("Conv", inputs, result, { attributes }))];
    },
  };
}
