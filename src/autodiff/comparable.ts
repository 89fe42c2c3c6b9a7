import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { isHalf } from "../onnx/data-types.ts";

/**
 * Numbers that can be compared for equality with what is selected from them. Half types come as float32, converted once:
 * ONNX Runtime computes them in float32 on the CPU and rounds what one reader gets but not what another gets, so the
 * maximum of a float16 graph equals none of its operands. Select again from these numbers, and compare with that.
 */
export const comparable = (g: Emit, x: Typed): Typed =>
  isHalf(x.type) ? g.once(`comparable ${x.name}`, () => g.cast(x, "float")) : x;
