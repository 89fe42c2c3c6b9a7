import type { Site } from "../analysis/site-types.ts";
import { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import { allAxes } from "../graph/shapes.ts";

/**
 * Adds to an inferred graph, for each site, the Gram matrix K = Σ TTᵀ over rows of its tanh-squashed responses
 * T = tanh(γY): [groups, units/groups, units/groups]. No shape written holds the batch.
 * @returns the Gram matrices, in the order of the sites
 */
export function addResponseGrams(graph: Graph, sites: readonly Site[], gamma: number): Typed[] {
  const g = new Emit(graph, { prefix: "angles/" });
  return sites.map((site) => {
    const { units, groups, unitAxis, rows } = site;
    const y = site.response.type === "double" ? (site.response as Typed) : g.cast(site.response, "float");
    const t = g.tanh(g.mul(y, gamma));
    const otherAxes = allAxes(t.shape.length).filter((axis) => axis !== unitAxis);
    const byUnit = g.transpose(t, [unitAxis, ...otherAxes]);
    const size = units / groups;
    const matrix = g.reshapeAs(byUnit, [groups, size, -1], [groups, size, rows]);
    return g.matMul(matrix, g.transposeLast(matrix));
  });
}
