import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { allAxes, dimAt, normalizeAxis } from "../../graph/shapes.ts";
import type { RuleContext, RuleTable, SampleInput } from "../rule.ts";
import { sumOverBlocks } from "./blocks.ts";

/** Why operators that round activations are refused, and what to do. */
export const roundsActivations =
  "it rounds to a few levels, so its derivative is 0 or undefined: pass gradients straight through it (--straight-through), or train the float model and quantize that";
const refused = { refused: roundsActivations } as const;

/** Sums over all elements that share one scale: the whole tensor, all but one axis, or blocks of an axis. */
function sumToScale(g: Emit, context: RuleContext, perElement: Typed): Typed {
  const scale = context.input(1);
  const { shape } = perElement;
  const rank = shape.length;
  if (scale.shape.length === 0) return g.reduceSum(perElement);
  const axis = normalizeAxis(context.node.int("axis", 1), rank);
  const block = context.node.int("block_size", 0);
  if (block === 0) {
    if (rank === 0 || dimAt(scale.shape, 0) === 1) return g.reshape(g.reduceSum(perElement), scale.shape);
    return g.reduceSum(
      perElement,
      allAxes(rank).filter((other) => other !== axis),
    );
  }
  return sumOverBlocks(g, perElement, axis, block);
}

/** A zero point (one for all elements, per index of the axis, or per block) in a shape that broadcasts over x. */
function alongAxis(g: Emit, context: RuleContext, zero: Typed): Typed {
  const { shape } = context.input(0);
  const block = context.node.int("block_size", 0);
  if (zero.shape.length === 0 || shape.length === 0) return zero;
  const axis = normalizeAxis(context.node.int("axis", 1), shape.length);
  if (block === 0) {
    return g.reshape(
      zero,
      shape.map((_, other) => (other === axis ? dimAt(zero.shape, 0) : 1)),
    );
  }
  const blocks = dimAt(zero.shape, axis);
  const split = [...zero.shape.slice(0, axis + 1), 1, ...zero.shape.slice(axis + 1)];
  const wide = split.map((dim, other) => (other === axis + 1 ? block : dim));
  const joined = zero.shape.map((dim, other) => (other === axis ? blocks * block : dim));
  const repeated = g.reshape(g.expand(g.reshape(zero, split), wide), joined);
  return g.slice(repeated, [{ axis, start: 0, length: dimAt(shape, axis) }]);
}

const bytes = (shape: number[], ...values: number[]): SampleInput => ({
  shape,
  constant: values,
  type: "uint8",
});
const signed = (shape: number[], ...values: number[]): SampleInput => ({
  shape,
  constant: values,
  type: "int8",
});

export const quantization = {
  // y = (x − zero point)·scale with integers x: only the scale has a gradient, Σ dy·(x − zero point)
  DequantizeLinear: {
    vjp: (context, dy, g) => [
      null,
      () => {
        const scale = context.input(1);
        const zero = context.inputs[2];
        const levels = g.cast(context.input(0), scale.type);
        const centered = zero ? g.sub(levels, alongAxis(g, context, g.cast(zero, scale.type))) : levels;
        return sumToScale(g, context, g.mul(g.cast(dy, scale.type), centered));
      },
      null,
    ],
    samples: [
      { inputs: [bytes([2, 3], 0, 7, 255, 128, 3, 90), [], bytes([], 128)], note: "tensor" },
      { inputs: [signed([4], -128, 5, 0, 127), []], note: "no zero point" },
      { inputs: [signed([], -5), []], note: "scalar" },
      {
        inputs: [bytes([2, 3, 2], 0, 7, 255, 128, 3, 90, 1, 2, 3, 4, 5, 6), [3], bytes([3], 128, 0, 3)],
        note: "axis",
      },
      {
        inputs: [signed([2, 3], 1, 7, -2, 28, 3, 90), [2], signed([2], 1, -2)],
        attributes: { axis: int(-2) },
        note: "negative axis",
      },
      {
        inputs: [signed([2, 5], 1, 7, -2, 28, 3, 90, 1, 2, 3, 4), [2, 3], signed([2, 3], 1, -2, 3, 0, 5, 6)],
        attributes: { axis: int(1), block_size: int(2) },
        opset: 21,
        note: "blocks",
      },
    ],
    linear: true,
  },

  QuantizeLinear: refused,
  DynamicQuantizeLinear: refused,
  QLinearConv: refused,
  QLinearMatMul: refused,
  ConvInteger: refused,
  MatMulInteger: refused,
} satisfies RuleTable;
