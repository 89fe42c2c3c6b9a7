import { constantTensor } from "../../../analysis/probe-model.ts";
import type { Emit } from "../../../graph/emit.ts";
import { type Typed, typed } from "../../../graph/emit-base.ts";
import type { Node } from "../../../graph/node.ts";
import { isRead } from "../../../graph/reach.ts";
import { isFloat } from "../../../onnx/data-types.ts";
import { inputOf, unary, type WrittenOut, type WrittenOutTable } from "./written-out.ts";

/** α·(eˣ − 1) for x below 0, and 0 above. */
const exponentialPart = (g: Emit, x: Typed, alpha: number, slope: number): Typed =>
  g.mul(g.sub(g.exp(g.mul(g.min(x, 0), slope)), 1), alpha);

/** From this number on, every number of the type is whole: twice the reciprocal of its roundoff. */
const whole: Partial<Record<Typed["type"], number>> = { float: 2 ** 23, float16: 2 ** 10 };

/** To the nearest whole number, halves to the even one: x + 2²³ has no room for a fraction, and is rounded so. */
function round(g: Emit, x: Typed): Typed | undefined {
  const limit = whole[x.type];
  if (limit === undefined) return undefined;
  const size = g.abs(x);
  const rounded = g.sub(g.add(size, limit), limit);
  return g.where(g.less(size, limit), g.where(g.less(x, 0), g.neg(rounded), rounded), x);
}

/** Booleans as 0 and 1. */
const numbersOf = (g: Emit, node: Node, index: number): Typed => g.cast(inputOf(node, index), "float");

/** Adds up any number of inputs, which may broadcast. */
const total = (g: Emit, { inputs }: Node): Typed => {
  const [first, ...others] = inputs.filter((input) => input !== null).map(typed);
  return others.reduce((sum, input) => g.add(sum, input), first as Typed);
};

const sums = (build: (g: Emit, sum: Typed, count: number) => Typed): WrittenOut => {
  return (g, node) =>
    isFloat(inputOf(node, 0).type) ? [build(g, total(g, node), node.inputs.length)] : undefined;
};

export const elementwise: WrittenOutTable = {
  Sign: (g, node) => {
    const x = inputOf(node, 0);
    if (!isFloat(x.type) && x.type !== "int32") return undefined;
    return [g.sub(g.indicator(g.greater(x, 0), x.type), g.indicator(g.less(x, 0), x.type))];
  },
  Round: (g, node) => {
    const rounded = round(g, inputOf(node, 0));
    return rounded && [rounded];
  },
  // NaN is neither below 0 nor at least 0.
  IsNaN: (g, node) => {
    const x = inputOf(node, 0);
    if (x.type !== "float") return undefined;
    const sides = [g.less(x, 0), g.greaterOrEqual(x, 0)].map((side) => g.indicator(side, "float"));
    return [g.less(g.add(...(sides as [Typed, Typed])), 0.5)];
  },
  Not: (g, node) => [g.less(numbersOf(g, node, 0), 0.5)],
  Or: (g, node) => [g.greater(g.add(numbersOf(g, node, 0), numbersOf(g, node, 1)), 0.5)],
  Xor: (g, node) => [g.greater(g.abs(g.sub(numbersOf(g, node, 0), numbersOf(g, node, 1))), 0.5)],
  Selu: unary((g, x, node) => {
    const alpha = node.float("alpha", 1.6732632423543772);
    return g.mul(g.add(g.relu(x), exponentialPart(g, x, alpha, 1)), node.float("gamma", 1.0507009873554805));
  }),
  Celu: unary((g, x, node) => {
    const alpha = node.float("alpha", 1);
    return g.add(g.relu(x), exponentialPart(g, x, alpha, 1 / alpha));
  }),
  Softsign: unary((g, x) => g.div(x, g.add(g.abs(x), 1))),
  Shrink: unary((g, x, node) => {
    const [bias, limit] = [node.float("bias", 0), node.float("lambd", 0.5)];
    const below = g.where(g.less(x, -limit), g.add(x, bias), 0);
    return g.where(g.greater(x, limit), g.sub(x, bias), below);
  }),
  Mish: unary((g, x) => g.mul(x, g.tanh(g.softplus(x)))),
  Swish: unary((g, x, node) => g.mul(x, g.sigmoid(g.mul(x, node.float("alpha", 1))))),
  Sum: sums((g, sum, count) => (count === 1 ? g.identity(sum) : sum)),
  Mean: sums((g, sum, count) => g.mul(sum, 1 / count)),
  Pow: (g, node) => {
    const [x, exponent] = [inputOf(node, 0), inputOf(node, 1)];
    return isFloat(x.type) && exponent.type === "int64" ? [g.pow(x, g.cast(exponent, x.type))] : undefined;
  },
  CastLike: (g, node) => {
    const [x, like] = [inputOf(node, 0), inputOf(node, 1)];
    return [x.type === like.type ? g.identity(x) : g.cast(x, like.type)];
  },
  // In inference form. Steps that train have masks in its place.
  Dropout: (g, node) => {
    const [, , training] = node.inputs;
    const [, mask] = node.outputs;
    const off = !training || constantTensor(training)?.numbers()[0] === 0;
    return off && !(mask && isRead(g.graph, mask)) ? [g.identity(inputOf(node, 0))] : undefined;
  },
};
