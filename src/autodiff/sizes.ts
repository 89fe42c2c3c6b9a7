import { SorthError } from "../errors.ts";
import type { Node } from "../graph/node.ts";
import { elementCount } from "../onnx/tensor.ts";

/** A float32 value of this many numbers takes 256 GiB. */
const mostOfValue = 2 ** 36;

/**
 * A few bytes of a file can state sizes that no machine holds. Derivatives list positions and weights by size while they are
 * built, so such sizes must be noticed first.
 * @throws SorthError for a value of the node that has more numbers than a machine can hold
 */
export function checkValues(node: Node): void {
  for (const value of [...node.inputs, ...node.outputs])
    if (elementCount(value?.shape ?? []) > mostOfValue)
      throw new SorthError(
        `"${value?.name}" has the sizes [${value?.shape}], which need an array larger than any memory: use smaller ones (--batch, --dim)`,
      );
}
