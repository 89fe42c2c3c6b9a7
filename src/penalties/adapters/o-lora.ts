import { definePenalty } from "../define.ts";
import { product, transposed } from "../plain-math.ts";
import { scaled, scaledBy } from "../scaled.ts";
import { frozenMatrix, isComparable, matricesOf, plainAdapter, sumOfSquares, total } from "./parts.ts";

/**
 * Keeps what an adapter reads away from what earlier adapters read, so that tasks which are learned one after the other do not
 * undo each other.
 *
 *     R = Σ |P·Aᵀ|,  or  Σ (P·Aᵀ)²  (sum=squares)
 *
 * where the rows of P [n, in] are those of the A of all earlier adapters beside the same layer.
 * Source: Wang et al. 2023, O-LoRA (arXiv 2310.14152), eq. (8) with squares; its published code sums absolute values, with λ = 0.5.
 */
export const oLora = definePenalty({
  name: "o-lora",
  summary: "an adapter that reads other directions than earlier adapters",
  formula: "Σ |P·Aᵀ| with the rows of A of earlier adapters as P; sum=squares: Σ (P·Aᵀ)²",
  source:
    "Wang et al. 2023, O-LoRA (arXiv 2310.14152), eq. (8) with squares; absolute values and the weight as in the published code",
  defaults: { adapter: "", sum: "absolute" as "absolute" | "squares" },
  about: {
    adapter:
      "file or folder of an earlier adapter, as `--adapter` of train writes it, or PEFT; several: `'first,second'`",
    sum: "what is added up",
  },
  choices: { sum: ["absolute", "squares"] },
  on: "weights",
  frozen: "earlier-adapters",
  weight: 0.5,
  applies: isComparable,
  build: (layer, options) => {
    const { g } = layer;
    const { down, toDown } = matricesOf(layer);
    const earlier = frozenMatrix(layer, options, "previous");
    // One row for each of the adapter's vectors: [rank, n].
    const products = g.gemm(down, earlier, { transB: true });
    const isSquare = options.sum === "squares";
    const value = isSquare ? sumOfSquares(g, products) : g.reduceSum(g.abs(products), undefined, false, true);
    // ∂R/∂A = S·P with S = sign(A·Pᵀ), or 2·A·Pᵀ.
    const slope = () =>
      isSquare
        ? scaled(g, products, 2)
        : g.sub(
            g.indicator(g.greater(products, 0), products.type),
            g.indicator(g.less(products, 0), products.type),
          );
    return {
      value,
      slopes: [
        {
          of: layer.site.weight,
          gradient: (factor) => {
            const own = factor ? scaledBy(g, slope(), factor) : slope();
            return toDown(g.matMul(own, earlier));
          },
        },
      ],
    };
  },
  reference: (layer, { sum }) => {
    const { down, frozen } = plainAdapter(layer);
    const previous = frozen.previous ?? [];
    const products = product(down, transposed(previous));
    const isSquare = sum === "squares";
    const slopes = products.map((row) => row.map((x) => (isSquare ? 2 * x : Math.sign(x))));
    return {
      value: total(products, isSquare ? (x) => x * x : Math.abs),
      gradient: { weights: product(slopes, previous) },
    };
  },
});
