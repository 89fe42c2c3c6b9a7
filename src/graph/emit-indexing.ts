import { int, string } from "./attribute.ts";
import { type Typed, typed } from "./emit-base.ts";
import { EmitShape } from "./emit-shape.ts";
import type { Value } from "./node.ts";
import { dimAt, normalizeAxis } from "./shapes.ts";

/** The operators of {@link Emit} that read or write elements at indices. */
export class EmitIndexing extends EmitShape {
  /** Rows of `x` along `axis`, by index. */
  gather(x: Value, indices: Value, axis = 0): Typed {
    const { shape } = typed(x);
    const at = normalizeAxis(axis, shape.length);
    return this.op(
      "Gather",
      [x, indices],
      [...shape.slice(0, at), ...typed(indices).shape, ...shape.slice(at + 1)],
      {
        attributes: { axis: int(at) },
      },
    );
  }

  /** `data` with `updates` added at `indices` (int64, […, r]: positions along the first r axes; repeats add up). */
  scatterAdd(data: Value, indices: Value, updates: Value): Typed {
    return this.op("ScatterND", [data, indices, updates], typed(data).shape, {
      attributes: { reduction: string("add") },
    });
  }

  /** The elements or slices of `data` at `indices` (int64, […, r]). */
  gatherND(data: Value, indices: Value): Typed {
    const { shape } = typed(indices);
    return this.op(
      "GatherND",
      [data, indices],
      [...shape.slice(0, -1), ...typed(data).shape.slice(dimAt(shape, -1))],
    );
  }

  /** Elements of `x` along `axis` at `indices` (of the result's shape; equal to x's except along the axis). */
  gatherElements(x: Value, indices: Value, axis: number): Typed {
    const at = normalizeAxis(axis, typed(x).shape.length);
    return this.op("GatherElements", [x, indices], typed(indices).shape, { attributes: { axis: int(at) } });
  }

  /** `data` with `updates` (of the indices' shape) added at `indices` along `axis`; repeats add up. */
  scatterElementsAdd(data: Value, indices: Value, updates: Value, axis: number): Typed {
    const at = normalizeAxis(axis, typed(data).shape.length);
    return this.op("ScatterElements", [data, indices, updates], typed(data).shape, {
      attributes: { axis: int(at), reduction: string("add") },
    });
  }

  /** Running sums along `axis`; `reverse` from the end, `exclusive` without the element itself. */
  cumSum(x: Value, axis: number, options: { reverse?: boolean; exclusive?: boolean } = {}): Typed {
    const { shape } = typed(x);
    const at = this.constant("int32", [], Int32Array.of(normalizeAxis(axis, shape.length)));
    return this.op("CumSum", [x, at], shape, {
      attributes: {
        ...(options.reverse ? { reverse: int(1) } : {}),
        ...(options.exclusive ? { exclusive: int(1) } : {}),
      },
    });
  }
}
