import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { isHalf } from "../onnx/data-types.ts";

/**
 * `x` in a form in which a selected element (a maximum, say) can be compared for equality with the elements it was
 * selected from. Half types become float32, cast once. On the CPU, ONNX Runtime computes halves in float32 and rounds
 * for some readers only, so a float16 maximum may equal none of its operands: select again from the cast values.
 */
export const comparable = (g: Emit, x: Typed): Typed =>
  isHalf(x.type) ? g.once(`comparable ${x.name}`, () => g.cast(x, "float")) : x;
