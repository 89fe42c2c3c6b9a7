import { definePenalty } from "../define.ts";
import {
  offDiagonalCovariances,
  offDiagonalSquares,
  penaltyOfCovariances,
  plainCovariances,
} from "./covariance.ts";

/**
 * The covariance term of VICReg, for one view.
 *
 *     R = (1/k)·Σ over i≠j of C²ᵢⱼ, C = (1/(b − 1))·Σ (y − ȳ)(y − ȳ)ᵀ over the rows
 *
 * Source: Bardes, Ponce, LeCun 2022 (arXiv 2105.04906), eq. (3) and (4); coefficient 1 in its code (facebookresearch/vicreg).
 */
export const vicreg = definePenalty({
  name: "vicreg",
  summary: "uncorrelated responses: VICReg's covariance term",
  formula: "(1/k)·Σ C²ᵢⱼ, i≠j, C the covariances of the responses over b rows, divided by b − 1",
  source: "Bardes, Ponce, LeCun 2022 (arXiv 2105.04906), eq. (4), of one view; weight 1 as in its code",
  defaults: {},
  on: "responses",
  weight: 1,
  // The mean over groups of Σ C²/(units of the group).
  build: (layer) =>
    penaltyOfCovariances(layer, (g, products, rows) =>
      offDiagonalCovariances(g, products, rows, { less: 1, factor: 1 / layer.site.units }),
    ),
  reference: (layer) =>
    plainCovariances(layer, (units) =>
      offDiagonalSquares(units, 1 / units.length / ((units[0]?.length ?? 0) - 1) ** 2),
    ),
});
