import { cosinesOf } from "../cosines.ts";
import { definePenalty } from "../define.ts";
import { normalized, pairSums, throughNorm, withGradient } from "../plain-math.ts";
import { meanOfGroupSums } from "../weight-penalty.ts";
import { overRows, penaltyOfCovariances, plainCovariances } from "./covariance.ts";

/** BatchNorm's epsilon, added to each unit's variance. */
const epsilon = 1e-5;

/**
 * The off-diagonal term of Barlow Twins, for one view: the correlations of a layer's units.
 *
 *     R = Σ over i≠j of C²ᵢⱼ, C = (1/b)·Σ ẑẑᵀ over the rows, ẑ = (y − ȳ)/√(var y + 1e-5)
 *
 * Source: Zbontar et al. 2021 (arXiv 2103.03230), eq. (1) and (2), its weight 0.0051 in the code (facebookresearch/barlowtwins).
 */
export const barlow = definePenalty({
  name: "barlow",
  summary: "uncorrelated responses: the off-diagonal term of Barlow Twins",
  formula: "Σ C²ᵢⱼ, i≠j, C the correlations of the responses",
  source:
    "Zbontar et al. 2021 (arXiv 2103.03230), eq. (1), of one view; weight 0.0051 and ε = 1e-5 as in its code",
  defaults: {},
  on: "responses",
  weight: 0.0051,
  build: (layer) => {
    const { groups, units: all } = layer.site;
    const units = all / groups;
    return penaltyOfCovariances(layer, (g, products, rows) => {
      const cosines = cosinesOf(g, overRows(g, products, rows), { added: epsilon, least: -1 });
      const apart = g.mul(cosines.value, g.offDiagonal(units, products.type));
      return {
        value: meanOfGroupSums(g, g.square(apart), groups),
        pull: () => overRows(g, cosines.pull(g.mul(apart, 4 / groups)), rows),
      };
    });
  },
  reference: (layer) =>
    plainCovariances(layer, (units) => {
      // ε is added to variances, which are the squared norms divided by the number of rows.
      const { directions, norms } = normalized(units, {
        added: epsilon * (units[0]?.length ?? 0),
        least: -1,
      });
      const { squares, gradient } = pairSums(directions);
      return withGradient(squares, () =>
        gradient(0, 1).map((slope, i) => throughNorm(slope, directions[i] ?? [], norms[i] ?? 0)),
      );
    }),
});
