/** Ways to come by the weights in the gradients of Attention; run as bench/gradients/convolution.ts. */
import { attentionGradients } from "../../src/autodiff/rules/dot-product-attention.ts";
import type { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { compare, report, type Variant } from "./harness.ts";

for (const { batch, heads, length, width } of [
  { batch: 8, heads: 12, length: 128, width: 64 },
  { batch: 2, heads: 12, length: 512, width: 64 },
]) {
  const shape = [batch, heads, length, width];
  const scores = [batch, heads, length, length];
  const scale = 1 / Math.sqrt(width);
  const written = (g: Emit, q: Typed, k: Typed, v: Typed) => {
    const weights = g.softmax(g.matMul(g.mul(q, scale), g.transposeLast(k)));
    return { weights, y: g.matMul(weights, v) };
  };
  /** The gradients, given the weights. */
  const fromWeights = (g: Emit, q: Typed, k: Typed, v: Typed, dy: Typed, weights: Typed, y: Typed) => {
    const products = g.reduceSum(g.mul(dy, y), [3], true);
    const dScores = g.mul(weights, g.sub(g.matMul(dy, g.transposeLast(v)), products));
    return [
      g.mul(g.matMul(dScores, k), scale),
      g.matMul(g.transposeLast(dScores), g.mul(q, scale)),
      g.matMul(g.transposeLast(weights), dy),
    ];
  };
  const variants: Record<string, Variant> = {
    "written out, weights kept": (g, q, k, v, dy) => {
      const { weights, y } = written(g, q, k, v);
      return [y, ...fromWeights(g, q, k, v, dy, weights, y)];
    },
    "rule: weights computed again": (g, q, k, v, dy) => {
      const { y } = written(g, q, k, v);
      const products = g.reduceSum(g.mul(dy, y), [3], true);
      // A value a little off, so that ONNX Runtime does not merge both products into one.
      const again = g.mul(q, 1.0000002);
      const gradients = attentionGradients(
        g,
        { query: again, key: k, value: v, scale },
        { output: dy, products },
      );
      return [y, gradients.query(), gradients.key(), gradients.value()];
    },
    "forward alone": (g, q, k, v) => [written(g, q, k, v).y],
  };
  report(
    `Attention of ${batch}×${heads} heads, ${length} queries and keys of ${width}: ${scores.reduce((a, b) => a * b)} weights`,
    await compare([shape, shape, shape, shape], variants),
  );
}
