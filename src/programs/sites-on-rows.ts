import type { Site } from "../analysis/site-types.ts";
import { channelsLast, intoImage } from "../passes/layout/rows.ts";
import type { ValuesOnRows } from "../passes/layout/rows-layout.ts";
import { subjectOf } from "../penalties/applies.ts";
import { chooses } from "../penalties/plan.ts";
import { penaltyDefinitions } from "../penalties/table.ts";
import type { PreparedGraph } from "./prepared-graph.ts";

/**
 * The layers after a change of layout. A response that is rows now is read as [N, …space, C], with its units on the last axis,
 * in the same order of rows. Penalties of the caller's own may count on the axes of the model, and get the image.
 */
export function sitesOnRows(
  { sites, emit, penalties }: Pick<PreparedGraph, "sites" | "emit" | "penalties">,
  moved: ValuesOnRows,
): Site[] {
  const ownPlans = penalties.plans.filter(
    ({ penalty }) => subjectOf(penalty) === "responses" && !penaltyDefinitions.includes(penalty.definition),
  );
  return sites.map((site) => {
    const found = moved.get(site.response);
    if (!found) return site;
    const { rows, image } = found;
    if (ownPlans.some((plan) => chooses(plan, site)))
      return { ...site, response: intoImage(emit, rows, image) };
    const shape = channelsLast(image);
    return { ...site, response: emit.reshape(rows, shape), unitAxis: shape.length - 1 };
  });
}
