import { definePenalty, notWhole } from "../define.ts";
import { product, transposed } from "../plain-math.ts";
import { scaled, scaledBy } from "../scaled.ts";
import { frozenMatrix, isComparable, matricesOf, plainAdapter, plus, times, total } from "./parts.ts";

/**
 * Keeps an adapter out of the strongest directions of the frozen weight, in which its knowledge lies.
 *
 *     R = ‖Uᵀ·ΔW‖² + ‖ΔW·V‖²,  ΔW = scaling · B·A
 *
 * with the first `rank` left and right singular vectors of the weight as U [units, k] and V [inputs, k]. R is 0 exactly where the
 * paper's constraint holds, ΔW = (I − UUᵀ)·ΔW·(I − VVᵀ), under which these singular triples of the weight stay as they are; the
 * paper enforces it by projection. Written with products of rank × rank: ΔW itself is never formed.
 * Source: OPLoRA 2025 (arXiv 2510.13003), the projections P_L and P_R.
 */
export const oplora = definePenalty({
  name: "oplora",
  summary: "an adapter outside of the weight's top singular directions",
  formula: "‖Uᵀ·ΔW‖² + ‖ΔW·V‖², ΔW = scaling · B·A, with the weight's first singular vectors U and V",
  source:
    "OPLoRA 2025 (arXiv 2510.13003): R is 0 where its projections P_L = I − UUᵀ and P_R = I − VVᵀ change nothing; the paper projects, and so has no weight",
  defaults: { rank: 8 },
  about: { rank: "number of singular vectors on either side" },
  problem: ({ rank }) => notWhole({ rank }, 1),
  on: "weights",
  frozen: "singular-vectors",
  applies: isComparable,
  build: (layer, options) => {
    const { g, site } = layer;
    const { down, up, scaling, toDown, toUp } = matricesOf(layer);
    const left = frozenMatrix(layer, options, "left");
    const right = frozenMatrix(layer, options, "right");
    const square = scaling * scaling;
    // P = UᵀB [k, rank], Q = AV [rank, k], G = AAᵀ, H = BᵀB; the rows of `left` and `right` are the singular vectors.
    const p = g.matMul(left, up);
    const q = g.gemm(down, right, { transB: true });
    const gram = g.gemm(down, down, { transB: true });
    const turned = g.gemm(up, up, { transA: true });
    const pg = g.matMul(p, gram);
    const hq = g.matMul(turned, q);
    const value = g.mul(
      g.add(
        g.reduceSum(g.mul(pg, p), undefined, false, true),
        g.reduceSum(g.mul(hq, q), undefined, false, true),
      ),
      square,
    );
    const weighted = (x: typeof p, factor?: typeof p) => {
      const own = scaled(g, x, 2 * square);
      return factor ? scaledBy(g, own, factor) : own;
    };
    return {
      value,
      slopes: [
        {
          // 2s²·(PᵀP·A + H·Q·Vᵀ)
          of: site.weight,
          gradient: (factor) => {
            const inner = weighted(g.gemm(p, p, { transA: true }), factor);
            return toDown(g.add(g.matMul(inner, down), g.matMul(weighted(hq, factor), right)));
          },
        },
        {
          // 2s²·(U·P·G + B·Q·Qᵀ)
          of: site.adapter?.up ?? site.weight,
          gradient: (factor) => {
            const inner = weighted(g.gemm(q, q, { transB: true }), factor);
            return toUp(g.add(g.gemm(left, weighted(pg, factor), { transA: true }), g.matMul(up, inner)));
          },
        },
      ],
    };
  },
  reference: (layer) => {
    const { down, up, scaling, frozen } = plainAdapter(layer);
    const [left, right] = [frozen.left ?? [], frozen.right ?? []];
    const change = times(scaling, product(up, down));
    const rows = product(left, change);
    const columns = product(change, transposed(right));
    // ∂R/∂ΔW = 2(U·UᵀΔW + ΔWV·Vᵀ)
    const slope = times(2, plus(product(transposed(left), rows), product(columns, right)));
    return {
      value: total(rows, (x) => x * x) + total(columns, (x) => x * x),
      gradient: {
        weights: times(scaling, product(transposed(up), slope)),
        up: times(scaling, product(slope, transposed(down))),
      },
    };
  },
});
