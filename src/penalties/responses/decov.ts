import { definePenalty } from "../define.ts";
import {
  offDiagonalCovariances,
  offDiagonalSquares,
  penaltyOfCovariances,
  plainCovariances,
} from "./covariance.ts";

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
  build: (layer) =>
    penaltyOfCovariances(layer, (g, products, rows) =>
      offDiagonalCovariances(g, products, rows, { factor: 0.5 / layer.site.groups }),
    ),
  reference: (layer) =>
    plainCovariances(layer, (units) => offDiagonalSquares(units, 0.5 / (units[0]?.length ?? 0) ** 2)),
});
