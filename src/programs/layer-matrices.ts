import type { Site } from "../analysis/site-types.ts";
import type { Value } from "../graph/node.ts";
import { ancestorsOf } from "../graph/reach.ts";
import type { LayerMatrix } from "../optimizers/transformation.ts";

/**
 * The matrices among parameters: weights of layers that a product reads. A table that is also looked up in (an embedding) is
 * left out.
 */
export function layerMatrices(sites: readonly Site[]): ReadonlyMap<Value, LayerMatrix> {
  const found = new Map<Value, LayerMatrix>();
  const beforeLayers = ancestorsOf(sites.flatMap(({ node }) => node.inputs.flatMap((input) => input ?? [])));
  for (const site of sites) {
    const { weight, op, units, groups, response } = site;
    const { shape = [], uses } = weight;
    if (shape.length < 2 || [...uses].some(({ node }) => node.op === "Gather")) continue;
    const isOutput = !response.producer || !beforeLayers.has(response.producer);
    const unitAxis = op === "ConvTranspose" || shape[0] !== units ? 1 : 0;
    found.set(weight, { unitAxis, groups, isOutput });
  }
  return found;
}
