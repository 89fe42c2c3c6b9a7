import { DataError } from "../errors.ts";
import { shapeText } from "../graph/shapes.ts";
import { type AnyObjective, isOfEmbeddings, termsOf } from "../losses/terms.ts";
import { type Dataset, mainColumn } from "./dataset.ts";

/**
 * Refuses data for a loss of embeddings that hold neither several inputs a sample nor a class for each.
 * @param ports - of the graph: without labels, its samples hold several inputs
 * @throws DataError that says what the data must have
 */
export function checkPairs(
  dataset: Dataset,
  objective: AnyObjective | undefined,
  { labels }: { readonly labels?: unknown },
): void {
  if (!objective || labels === undefined || dataset.y.type !== "none") return;
  const term = termsOf(objective).find((one) => isOfEmbeddings(one.objective));
  if (!term || term.labels !== undefined) return;
  const held = dataset.inputs
    ? [...dataset.inputs.values()].map(({ name, shape }) => `${name} ${shapeText(shape)}`).join(", ")
    : `x ${shapeText(dataset.x.shape)}`;
  const main = dataset.inputs && mainColumn(dataset.inputs.values());
  const { name, shape } = main ?? { name: "x", shape: dataset.x.shape };
  const { name: loss } = term.objective;
  const least = loss === "triplet" ? "anchor, positive and negative" : "an anchor and its positive";
  const example = shapeText([loss === "triplet" ? 3 : 2, ...shape]);
  throw new DataError(
    `${dataset.name}: the objective ${loss} learns from samples that belong together, and these samples (${held}) say nothing about it: give each one ${least} (texts with columns anchor, positive${loss === "triplet" ? ", negative" : ""}; arrays with one axis more, ${name} ${example}), or a class as its label`,
  );
}
