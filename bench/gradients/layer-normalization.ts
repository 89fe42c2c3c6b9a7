/** Ways to write the gradients of LayerNormalization; run as bench/gradients/convolution.ts. */
import type { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { compare, report, type Variant } from "./harness.ts";

for (const [rows, width] of [
  [1024, 768],
  [4096, 128],
] as const) {
  const shape = [8, rows / 8, width];
  const row = [8, rows / 8, 1];
  const forward = (g: Emit, x: Typed, scale: Typed, bias: Typed) => {
    const outputs = [shape, row, row].map((dims) => ({ type: "float", shape: dims }) as const);
    return g.multi("LayerNormalization", [x, scale, bias], outputs) as [Typed, Typed, Typed];
  };
  const parameters = (g: Emit, dy: Typed, products: Typed) => [
    g.reduceSum(products, [0, 1]),
    g.reduceSum(dy, [0, 1]),
  ];
  const savedUnit = (g: Emit, x: Typed, mean: Typed, r: Typed) => g.mul(g.sub(x, mean), r);
  const variants: Record<string, Variant> = {
    "statistics computed again": (g, x, scale, bias, dy) => {
      const [y] = forward(g, x, scale, bias);
      const centred = g.sub(x, g.reduceMean(x, [2], true));
      const r = g.reciprocal(g.sqrt(g.add(g.reduceMean(g.square(centred), [2], true), 1e-5)));
      const d = g.mul(dy, scale);
      const slope = g.mul(g.square(r), g.reduceMean(g.mul(d, centred), [2], true));
      const dx = g.mul(g.sub(g.sub(d, g.reduceMean(d, [2], true)), g.mul(centred, slope)), r);
      return [y, dx, ...parameters(g, dy, g.mul(dy, g.mul(centred, r)))];
    },
    "saved statistics": (g, x, scale, bias, dy) => {
      const [y, mean, r] = forward(g, x, scale, bias);
      const unit = savedUnit(g, x, mean, r);
      const d = g.mul(dy, scale);
      const slope = g.reduceMean(g.mul(d, unit), [2], true);
      const dx = g.mul(g.sub(g.sub(d, g.reduceMean(d, [2], true)), g.mul(unit, slope)), r);
      return [y, dx, ...parameters(g, dy, g.mul(dy, unit))];
    },
    "saved, one product, means by MatMul with scale": (g, x, scale, bias, dy) => {
      const [y, mean, r] = forward(g, x, scale, bias);
      const unit = savedUnit(g, x, mean, r);
      const products = g.mul(dy, unit);
      const weights = g.reshape(g.mul(scale, 1 / width), [width, 1]);
      const slope = g.matMul(products, weights);
      const dx = g.mul(g.sub(g.sub(g.mul(dy, scale), g.matMul(dy, weights)), g.mul(unit, slope)), r);
      return [y, dx, ...parameters(g, dy, products)];
    },
    "saved, sums over rows by Gemm": (g, x, scale, bias, dy) => {
      const [y, mean, r] = forward(g, x, scale, bias);
      const unit = savedUnit(g, x, mean, r);
      const products = g.mul(dy, unit);
      const weights = g.reshape(g.mul(scale, 1 / width), [width, 1]);
      const slope = g.matMul(products, weights);
      const dx = g.mul(g.sub(g.sub(g.mul(dy, scale), g.matMul(dy, weights)), g.mul(unit, slope)), r);
      const ones = g.filled(1, [1, rows]);
      const sum = (v: Typed) => g.reshape(g.gemm(ones, g.reshape(v, [rows, width])), [width]);
      return [y, dx, sum(products), sum(dy)];
    },
    "forward alone": (g, x, scale, bias) => forward(g, x, scale, bias).slice(0, 1),
  };
  report(
    `LayerNormalization of ${rows} rows of ${width}, forward and three gradients`,
    await compare([shape, [width], [width], shape], variants),
  );
}
