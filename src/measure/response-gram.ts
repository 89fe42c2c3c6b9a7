import type { Site } from "../analysis/site-types.ts";
import { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import { allAxes } from "../graph/shapes.ts";

/** Responses with a larger magnitude, after tanh, count as saturated. */
const saturated = 0.99;

/** Sums over the rows of a site. */
export interface ResponseSums {
  readonly site: Site;
  readonly places: Uint32Array | undefined;
  /** K = Σ TTᵀ over rows: [groups, sampled units of a group, sampled units of a group]. */
  readonly gram: Typed;
  /** Number of responses with |T| > {@link saturated}, an integer. */
  readonly saturated: Typed;
}

/**
 * Adds sums over the rows of tanh-squashed responses T = tanh(γY) to an inferred graph, for each site. The shapes it writes
 * do not depend on the batch.
 * @param chosen - sites, each with the places within its groups of the sampled units (undefined: all units)
 */
export function addResponseSums(
  graph: Graph,
  chosen: readonly { site: Site; places: Uint32Array | undefined }[],
  gamma: number,
): ResponseSums[] {
  const g = new Emit(graph, { prefix: "angles/", openShapes: true });
  return chosen.map(({ site, places }) => {
    const { units, groups, unitAxis, rows } = site;
    const y = site.response.type === "double" ? (site.response as Typed) : g.cast(site.response, "float");
    const t = g.tanh(g.mul(y, gamma));
    const otherAxes = allAxes(t.shape.length).filter((axis) => axis !== unitAxis);
    const byUnit = g.transpose(t, [unitAxis, ...otherAxes]);
    const size = units / groups;
    const whole = g.reshapeAs(byUnit, [groups, size, -1], [groups, size, rows]);
    const matrix = places
      ? g.gather(whole, g.constant("int64", [places.length], BigInt64Array.from(places, BigInt)), 1)
      : whole;
    return {
      ...{ site, places },
      gram: g.matMul(matrix, g.transposeLast(matrix)),
      saturated: g.reduceSum(g.cast(g.greater(g.abs(t), saturated), "int32")),
    };
  });
}
