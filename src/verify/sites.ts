import { constantOf } from "../analysis/probe-model.ts";
import type { Site } from "../analysis/site-types.ts";
import { findSites } from "../analysis/sites.ts";
import { SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { sameShape } from "../graph/shapes.ts";
import { type Block, plansOf } from "../inject/block.ts";
import type { MarkedSite } from "../inject/mark.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { addedTo, weightOf } from "../penalties/layer.ts";
import type { Penalty } from "../penalties/penalty.ts";
import {
  convolutionOf,
  gathered,
  type PlainLayer,
  positionsOf,
  responsePlaces,
  weightPlaces,
} from "../penalties/plain-layer.ts";
import { resolvePlans } from "../penalties/plan.ts";

/** A site of an injected model, the value that holds its scalar, and what makes it up. */
export interface InjectedSite {
  readonly site: Site;
  readonly marked: MarkedSite;
  /** Penalties with their factors in the scalar. */
  readonly penalties: readonly { readonly penalty: Penalty; readonly factor: number }[];
}

/** Types of values that ONNX Runtime's binding can return. */
const returned: ReadonlySet<string> = new Set(["float", "double", "float16"]);

/** The sites of the original that the mark lists, with their penalties; or why they cannot be checked. */
export function injectedSites(
  own: Graph,
  { mark }: Block,
  given: readonly Penalty[],
): InjectedSite[] | string {
  const byName = new Map(findSites(own).sites.map((site) => [site.name, site]));
  const { plans } = resolvePlans(plansOf(mark, given));
  const found: InjectedSite[] = [];
  for (const marked of mark.sites) {
    const site = byName.get(marked.name);
    if (!site) return `not checked: the original has no layer "${marked.name}" at these dimensions`;
    const hidden = [site.response, ...computedOperands(site)].find(({ type }) => !returned.has(type ?? ""));
    if (hidden) {
      const what = hidden === site.response ? "the responses" : "the weights";
      return `not checked: ${what} of "${site.name}" are ${hidden.type}, which ONNX Runtime's binding cannot return`;
    }
    const own = plans.filter(({ label }) => marked.penalties.includes(label));
    found.push({ site, marked, penalties: own.map(({ penalty, factor }) => ({ penalty, factor })) });
  }
  return found;
}

const operandsOf = (site: Site): Value[] =>
  [weightOf(site), addedTo(site)?.value].flatMap((value) => value ?? []);

/** Weight and bias of a site as its operator reads them, where a node computes them. */
const computedOperands = (site: Site): Value[] =>
  operandsOf(site).filter(({ producer }) => producer && !constantOf(producer));

/** Names of what a run has to return, so that {@link plainLayerOf} has all of a site's numbers. */
export const layerNames = (site: Site): string[] =>
  [site.response, ...computedOperands(site)].map(({ name }) => name);

/**
 * A site in the numbers of one run.
 * @param results - what the run returned
 * @param feeds - what it was given
 */
export function plainLayerOf(
  site: Site,
  results: ReadonlyMap<string, Tensor>,
  feeds: ReadonlyMap<string, Tensor>,
): PlainLayer {
  const { groups, units } = site;
  const tensorOf = (value: Value): Tensor => {
    const tensor =
      feeds.get(value.name) ??
      value.initializer ??
      (value.producer && constantOf(value.producer)) ??
      results.get(value.name);
    if (!tensor) throw new SorthError(`the numbers of "${value.name}" are not known`);
    return tensor;
  };
  const response = tensorOf(site.response);
  const weight = weightOf(site);
  const tensor = weight && tensorOf(weight);
  const added = addedTo(site);
  const bias = added && tensorOf(added.value);
  const perUnit =
    bias &&
    sameShape(
      bias.dims.filter((dim) => dim !== 1),
      [units],
    );
  return {
    groups,
    responses: gathered(responsePlaces(response.dims, site), response.numbers()),
    weights: tensor ? gathered(weightPlaces(tensor.dims, site), tensor.numbers()) : [],
    bias: perUnit ? bias.numbers().map((number) => number * added.factor) : undefined,
    positions: positionsOf(response.dims, site),
    convolution: tensor && convolutionOf(site, tensor.dims),
  };
}
