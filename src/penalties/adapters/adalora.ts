import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { definePenalty } from "../define.ts";
import { excessSquares, transposed } from "../plain-math.ts";
import { scaled, scaledBy } from "../scaled.ts";
import { hasProduct, matricesOf, plainAdapter, sumOfSquares } from "./parts.ts";

/**
 * Pushes the vectors of an adapter to length 1 and right angles, among those that it reads (the rows of A) and among those that
 * it writes (the columns of B).
 *
 *     R = ‖A·Aᵀ − I‖² + ‖Bᵀ·B − I‖²
 *
 * B may begin with zeros: there its part has the gradient 0 and does not grow.
 * Source: Zhang et al. 2023, AdaLoRA (arXiv 2303.10512), eq. (4), with γ = 0.1 to 0.5; PEFT's AdaLoRA takes norms without squares.
 */
export const adalora = definePenalty({
  name: "adalora",
  summary: "vectors of an adapter's A and of its B of length 1 at right angles",
  formula: "‖A·Aᵀ − I‖² + ‖Bᵀ·B − I‖²",
  source: "Zhang et al. 2023, AdaLoRA (arXiv 2303.10512), eq. (4); γ from 0.1 on, sect. 4",
  defaults: {},
  on: "weights",
  weight: 0.1,
  applies: hasProduct,
  build: (layer) => {
    const { g, site } = layer;
    const { down, up, toDown, toUp } = matricesOf(layer);
    const ofDown = excess(g, g.gemm(down, down, { transB: true }));
    const ofUp = excess(g, g.gemm(up, up, { transA: true }));
    return {
      value: g.add(sumOfSquares(g, ofDown), sumOfSquares(g, ofUp)),
      // 4(AAᵀ − I)·A and 4B·(BᵀB − I)
      slopes: [
        { of: site.weight, gradient: (factor) => toDown(g.matMul(pull(g, ofDown, factor), down)) },
        {
          of: site.adapter?.up ?? site.weight,
          gradient: (factor) => toUp(g.matMul(up, pull(g, ofUp, factor))),
        },
      ],
    };
  },
  reference: (layer) => {
    const { down, up } = plainAdapter(layer);
    const [ofDown, ofUp] = [excessSquares(down), excessSquares(transposed(up))];
    return {
      value: ofDown.value + ofUp.value,
      gradient: { weights: ofDown.gradient, up: transposed(ofUp.gradient) },
    };
  },
});

const excess = (g: Emit, gram: Typed): Typed =>
  g.sub(gram, g.identityMatrix(gram.shape.at(-1) ?? 0, gram.type));

const pull = (g: Emit, x: Typed, factor: Typed | undefined): Typed =>
  factor ? scaledBy(g, scaled(g, x, 4), factor) : scaled(g, x, 4);
