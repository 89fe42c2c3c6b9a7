import { definePenalty } from "../define.ts";
import { scaled } from "../scaled.ts";
import { meanOfGroupSums } from "../weight-penalty.ts";
import { offDiagonalSquares, overRows, penaltyOfCovariances, plainCovariances } from "./covariance.ts";

/**
 * DeCov: covariances of a layer's units.
 *
 *     R = ½(‖C‖²_F − ‖diag C‖²), C = (1/b)·Σ (y − ȳ)(y − ȳ)ᵀ over the rows
 *
 * The paper uses activations; here, as in every penalty, it is the responses before normalization and activation.
 * Source: Cogswell et al. 2016 (arXiv 1511.06068), eq. (2). The weight is a hyperparameter there, without a usual value.
 */
export const decov = definePenalty({
  name: "decov",
  summary: "uncorrelated responses: small covariances",
  formula: "½(‖C‖² − ‖diag C‖²), C the covariances of the responses over b rows, divided by b",
  source:
    "Cogswell et al. 2016 (arXiv 1511.06068), eq. (2), of responses in place of activations; no usual weight",
  defaults: {},
  on: "responses",
  build: (layer) => {
    const { groups, units } = layer.site;
    return penaltyOfCovariances(layer, (g, products, rows) => {
      const apart = overRows(g, g.mul(products, g.offDiagonal(units / groups, products.type)), rows);
      return {
        value: g.mul(meanOfGroupSums(g, g.square(apart), groups), 0.5),
        pull: () => overRows(g, scaled(g, apart, 2 / groups), rows),
      };
    });
  },
  reference: (layer) =>
    plainCovariances(layer, (units) => offDiagonalSquares(units, 0.5 / (units[0]?.length ?? 0) ** 2)),
});
