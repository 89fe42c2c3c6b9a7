import { hiddenLayers } from "../analysis/hidden-sites.ts";
import { numbersOf } from "../analysis/number-signs.ts";
import { constantOf, constantTensor } from "../analysis/probe-model.ts";
import type { Site } from "../analysis/site-types.ts";
import { findSites } from "../analysis/sites.ts";
import { type Block, plansOf } from "../block/block.ts";
import { isSeeded, type MarkedSite, randomVersion } from "../block/mark.ts";
import { SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { sameShape } from "../graph/shapes.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { subjectOf } from "../penalties/applies.ts";
import { addedTo, weightOf } from "../penalties/layer.ts";
import type { Penalty } from "../penalties/penalty.ts";
import {
  convolutionOf,
  type Matrix,
  type PlainLayer,
  placesOfResponse,
  placesOfWeight,
  positionsOf,
} from "../penalties/plain-layer.ts";
import { transposed } from "../penalties/plain-math.ts";
import { resolvePlans } from "../penalties/plan.ts";
import { byUnit } from "./units.ts";

/** A site of an injected model, the value that holds its scalar, and the penalties in that scalar. */
export interface InjectedSite {
  readonly site: Site;
  readonly marked: MarkedSite;
  /** Penalties with their factors in the scalar. */
  readonly penalties: readonly { readonly penalty: Penalty; readonly factor: number }[];
  /** Why its numbers cannot be read, if so. */
  readonly hidden?: string;
}

/** Types of values that ONNX Runtime's binding can return. */
const returned: ReadonlySet<string> = new Set(["float", "double", "float16"]);

/** The sites of the original that the mark lists, with their penalties; or why they cannot be checked. */
export function injectedSites(
  own: Graph,
  { mark }: Block,
  given: readonly Penalty[],
): InjectedSite[] | string {
  // A penalty on weights needs no shape of responses.
  const { sites } = findSites(own, { openResponses: true, hidden: hiddenLayers(own), inBodies: true });
  const byName = new Map(
    sites.map((site) => [site.name, Number.isNaN(site.rows) ? { ...site, rows: 1 } : site]),
  );
  const { plans } = resolvePlans(plansOf(mark, given));
  const found: InjectedSite[] = [];
  for (const marked of mark.sites) {
    const site = byName.get(marked.name);
    const chosen = plans.filter(({ label }) => marked.penalties.includes(label));
    const penalties = chosen.map(({ penalty, factor }) => ({ penalty, factor }));
    if (!site || (readsResponses({ penalties }) && !site.response.shape))
      return `not checked: the original has no layer "${marked.name}" at these dimensions`;
    const of = { site, marked, penalties };
    const hidden = neededValues(of).find(({ type }) => !returned.has(type ?? ""));
    const drawnBefore = mark.random !== randomVersion && penalties.some(({ penalty }) => isSeeded(penalty));
    const what = hidden === site.response ? "the responses" : "the weights";
    found.push({
      ...of,
      ...(drawnBefore && {
        hidden: `the random numbers of "${site.name}" are those of an earlier version; inject again to have them checked`,
      }),
      ...(hidden && {
        hidden: `${what} of "${site.name}" are ${hidden.type}, which ONNX Runtime's binding cannot return`,
      }),
    });
  }
  return found;
}

/** Whether one of a site's penalties reads its responses. */
export const readsResponses = ({ penalties }: Pick<InjectedSite, "penalties">): boolean =>
  penalties.some(({ penalty }) => subjectOf(penalty) === "responses");

const readsWeights = ({ penalties }: Pick<InjectedSite, "penalties">): boolean =>
  penalties.some(({ penalty }) => subjectOf(penalty) === "weights");

/** The values of a site that a run must return: those that its penalties read; weight and bias only if a node computes them. */
function neededValues(injected: Pick<InjectedSite, "site" | "penalties">): Value[] {
  const { site } = injected;
  const operands = [
    readsWeights(injected) ? weightOf(site) : undefined,
    readsResponses(injected) ? addedTo(site)?.value : undefined,
  ].flatMap((value) => value ?? []);
  const computed = operands.filter(({ producer }) => producer && !constantOf(producer));
  return [...(readsResponses(injected) ? [site.response] : []), ...computed];
}

/** Names of the values that a run must return for {@link layerTensors}; some lie in functions of the model. */
export const layerNames = (injected: InjectedSite): string[] =>
  injected.hidden ? [] : neededValues(injected).map(({ name }) => name);

/** What the block calls a value of its layer: a layer inside a function is computed again in the block. */
export const nameInBlock = ({ marked }: InjectedSite, { name }: Value): string =>
  marked.inner?.[name] ?? name;

/** The tensors of a site in one run that its penalties read. */
export interface LayerTensors {
  readonly response: Tensor | undefined;
  readonly weight: Tensor | undefined;
  /** As the operator reads it; present if the response is. */
  readonly bias: Tensor | undefined;
}

/**
 * The tensors of a site in one run.
 * @param results - outputs of the run
 * @param feeds - inputs of the run
 */
export function layerTensors(
  injected: InjectedSite,
  results: ReadonlyMap<string, Tensor>,
  feeds: ReadonlyMap<string, Tensor>,
): LayerTensors {
  const { site } = injected;
  const tensorOf = (value: Value): Tensor => {
    const tensor = feeds.get(value.name) ?? constantTensor(value) ?? results.get(value.name);
    if (!tensor) throw new SorthError(`the numbers of "${value.name}" are not known`);
    return tensor;
  };
  const weight = readsWeights(injected) ? weightOf(site) : undefined;
  const added = readsResponses(injected) ? addedTo(site) : undefined;
  return {
    response: readsResponses(injected) ? tensorOf(site.response) : undefined,
    weight: weight && tensorOf(weight),
    bias: added && tensorOf(added.value),
  };
}

/** The numbers of a site that its penalties read, one row per unit. */
export interface LayerNumbers {
  /** `[unit][row]`; empty if no penalty reads responses. */
  readonly responses: Matrix;
  /** `[unit][number]`; empty if no penalty reads weights. */
  readonly weights: Matrix;
  /** The number added to each unit's product; undefined unless there is one number per unit. */
  readonly bias: readonly number[] | undefined;
}

/** A site's tensors as matrices with one row per unit. */
export function layerNumbers({ site }: InjectedSite, tensors: LayerTensors): LayerNumbers {
  const { response, weight, bias } = tensors;
  const dims = bias?.dims.filter((dim) => dim !== 1) ?? [];
  const factor = addedTo(site)?.factor ?? 1;
  return {
    responses: response ? byUnit(placesOfResponse(response.dims, site), numbersOf(response)) : [],
    weights: weight ? byUnit(placesOfWeight(weight.dims, site), numbersOf(weight)) : [],
    bias: bias && sameShape(dims, [site.units]) ? bias.numbers().map((b) => b * factor) : undefined,
  };
}

/** A site in the form that references take. */
export function plainLayer({ site }: InjectedSite, tensors: LayerTensors, numbers: LayerNumbers): PlainLayer {
  const shape = tensors.response?.dims ?? site.response.shape ?? [];
  return {
    ...{ groups: site.groups, byUnit: numbers.responses, weights: numbers.weights, bias: numbers.bias },
    get responses() {
      return transposed(numbers.responses);
    },
    positions: positionsOf(shape, site),
    convolution: convolutionOf(site, weightOf(site)?.shape ?? []),
  };
}
