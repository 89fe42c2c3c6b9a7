import { type Attribute, int, ints } from "./attribute.ts";
import { type Typed, typed } from "./emit-base.ts";
import { EmitElementwise } from "./emit-elementwise.ts";
import type { Value } from "./node.ts";
import { allAxes, broadcastShapes, dimAt, normalizeAxis, type Shape, sameShape } from "./shapes.ts";

/** The operators of {@link Emit} that move elements without reading indices. */
export class EmitShape extends EmitElementwise {
  /** The same elements in another shape. */
  reshape(x: Value, shape: Shape): Typed {
    if (sameShape(typed(x).shape, shape)) return x as Typed;
    // In Reshape a 0 copies a dimension, unless allowzero is set, which opset 14 introduced.
    const empty = shape.includes(0) && this.opset >= 14;
    return this.op("Reshape", [x, this.int64s(shape)], shape, {
      attributes: empty ? { allowzero: int(1) } : {},
    });
  }

  /** The same elements in `shape`, written as Reshape's codes (0 copies, −1 infers), so that no batch size is stored. */
  reshapeAs(x: Value, code: readonly number[], shape: Shape): Typed {
    return this.op("Reshape", [x, this.int64s(code)], shape);
  }

  /** Broadcast to a larger shape. */
  expand(x: Value, shape: Shape): Typed {
    if (sameShape(typed(x).shape, shape)) return x as Typed;
    return this.op("Expand", [x, this.int64s(shape)], broadcastShapes(typed(x).shape, shape));
  }

  /** New axes of length 1 at these positions of the result. */
  unsqueeze(x: Value, axes: readonly number[]): Typed {
    const shape = [...typed(x).shape];
    for (const axis of [...axes].sort((a, b) => a - b)) shape.splice(axis, 0, 1);
    return this.reshape(x, shape);
  }

  /** Concatenates values along an axis. */
  concat(values: readonly Value[], axis: number): Typed {
    const [first] = values;
    if (!first) throw new RangeError("concat of nothing");
    if (values.length === 1) return first as Typed;
    const shape = [...typed(first).shape];
    const at = normalizeAxis(axis, shape.length);
    shape[at] = values.reduce((sum, value) => sum + dimAt(typed(value).shape, at), 0);
    return this.op("Concat", values, shape, { attributes: { axis: int(at) } });
  }

  /** A part of each given axis: `length` elements from `start` (not negative) in steps of `step` (default 1; may be negative). */
  slice(x: Value, parts: readonly { axis: number; start: number; length: number; step?: number }[]): Typed {
    const shape = [...typed(x).shape];
    const whole = parts.every(
      ({ axis, start, length, step }) => start === 0 && length === shape[axis] && (step ?? 1) === 1,
    );
    if (whole) return x as Typed;
    const ends = parts.map(({ axis, start, length, step = 1 }) => {
      shape[axis] = length;
      const end = start + (length - 1) * step + Math.sign(step);
      return end < 0 ? -2147483648 : end;
    });
    return this.op(
      "Slice",
      [
        x,
        this.int64s(parts.map(({ start }) => start)),
        this.int64s(ends),
        this.int64s(parts.map(({ axis }) => axis)),
        this.int64s(parts.map(({ step }) => step ?? 1)),
      ],
      shape,
    );
  }

  /**
   * Splits into parts of the given lengths along an axis. Many parts need several rounds, because a WebGPU node may use
   * only eight buffers.
   */
  split(x: Value, axis: number, lengths: readonly number[]): Typed[] {
    if (lengths.length === 1) return [x as Typed];
    const most = 7;
    if (lengths.length > most) {
      const groups = Array.from({ length: Math.ceil(lengths.length / most) }, (_, i) =>
        lengths.slice(i * most, (i + 1) * most),
      );
      const sums = groups.map((group) => group.reduce((sum, length) => sum + length, 0));
      return this.split(x, axis, sums).flatMap((part, i) => this.split(part, axis, groups[i] ?? []));
    }
    const { shape, type } = typed(x);
    const at = normalizeAxis(axis, shape.length);
    const outputs = lengths.map((length) => ({
      type,
      shape: shape.map((dim, i) => (i === at ? length : dim)),
    }));
    const attributes: Record<string, Attribute> = { axis: int(at) };
    if (this.opset >= 13) return this.multi("Split", [x, this.int64s(lengths)], outputs, { attributes });
    return this.multi("Split", [x], outputs, { attributes: { ...attributes, split: ints(lengths) } });
  }

  /** Pads with a constant. `pads` as in ONNX: all beginnings, then all ends; a negative number crops. */
  pad(x: Value, pads: readonly number[], value = 0): Typed {
    const { shape, type } = typed(x);
    if (pads.every((pad) => pad === 0)) return x as Typed;
    const padded = shape.map((dim, axis) => dim + (pads[axis] ?? 0) + (pads[axis + shape.length] ?? 0));
    return this.op("Pad", [x, this.int64s(pads), ...(value === 0 ? [] : [this.scalar(value, type)])], padded);
  }

  /** Permutes the axes; without `perm`, reverses their order. */
  transpose(x: Value, perm?: readonly number[]): Typed {
    const { shape } = typed(x);
    const order = perm ?? allAxes(shape.length).reverse();
    if (order.every((axis, index) => axis === index)) return x as Typed;
    return this.op(
      "Transpose",
      [x],
      order.map((axis) => dimAt(shape, axis)),
      { attributes: { perm: ints(order) } },
    );
  }

  /** Exchanges the last two axes. */
  transposeLast(x: Value): Typed {
    const order = allAxes(typed(x).shape.length);
    const [row, column] = order.splice(-2) as [number, number];
    return this.transpose(x, [...order, column, row]);
  }
}
