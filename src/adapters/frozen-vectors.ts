import type { Probe } from "../analysis/probe.ts";
import { listed, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Model } from "../onnx/model.ts";
import { tensorOf } from "../onnx/random-tensors.ts";
import { elementCount, type Tensor } from "../onnx/tensor.ts";
import { ofGroups } from "../penalties/adapters/parts.ts";
import type { Penalty, PenaltyOptions } from "../penalties/penalty.ts";
import { type FrozenVectors, type PenaltyPlan, planOf } from "../penalties/plan.ts";
import type { Adapter } from "./adapter.ts";
import { formOf } from "./layer.ts";
import { type MarkedLayer, markOf } from "./mark.ts";
import { singularVectors } from "./singular-vectors.ts";
import { layerNumbers } from "./weight-numbers.ts";

/** Reads an adapter from a file or folder. */
type ReadAdapter = (path: string) => Promise<Adapter>;

/**
 * Finds the frozen vectors with which penalties compare the adapters of a model: the A of earlier adapters, or the singular
 * vectors of the weights beside which they lie.
 * @param model - with adapters beside its layers; without, the penalties refuse its layers themselves
 * @throws UsageError for an earlier adapter that has nothing beside the same layers
 */
export async function withFrozenVectors(
  model: Model,
  given: readonly (Penalty | PenaltyPlan)[],
  { read, probe }: { readonly read: ReadAdapter; readonly probe: Probe },
): Promise<PenaltyPlan[]> {
  const graph = graphOf(model);
  const layers = (markOf(graph)?.layers ?? []).filter(({ parameters }) => parameters.lora_A !== undefined);
  const plans = given.map(async (one): Promise<PenaltyPlan> => {
    const plan = planOf(one);
    const { definition, options } = plan.penalty;
    if (definition.frozen === undefined || layers.length === 0) return plan;
    const frozen =
      definition.frozen === "earlier-adapters"
        ? await earlierVectors(graph, layers, options, read)
        : await topVectors(graph, layers, options, probe);
    return { ...plan, frozen };
  });
  return Promise.all(plans);
}

type Found = readonly [name: string, vectors: Readonly<Record<string, Tensor>> | string];

/** The A of earlier adapters, one vector a row. */
async function earlierVectors(
  graph: Graph,
  layers: readonly MarkedLayer[],
  { adapter }: PenaltyOptions,
  read: ReadAdapter,
): Promise<FrozenVectors> {
  const paths = String(adapter)
    .split(",")
    .map((path) => path.trim())
    .filter((path) => path !== "");
  if (paths.length === 0) {
    throw new UsageError(
      "the penalty o-lora compares with an earlier adapter: give its file or folder (o-lora:adapter=FILE)",
    );
  }
  const earlier = await Promise.all(paths.map(read));
  const factors = paths.find((_, i) => earlier[i]?.ia3);
  if (factors !== undefined) {
    throw new UsageError(
      `the adapter "${factors}" is of the kind IA³, which reads no directions: o-lora compares with LoRA and DoRA`,
    );
  }
  const found = layers.map((layer): Found => {
    const name = layer.parameters.lora_A ?? "";
    const { dims, type } = graph.valueNamed(name).initializer as Tensor;
    const fanIn = elementCount(dims.slice(1));
    const matrices = earlier.flatMap(({ layers }) =>
      layers.flatMap(({ module, down }) => (down && isBeside(layer, module) ? [down] : [])),
    );
    if (matrices.length === 0) return [name, `no earlier adapter lies beside "${layer.module}"`];
    const other = matrices.find((down) => down.dims.slice(1).join() !== dims.slice(1).join());
    if (other) {
      throw new UsageError(
        `the earlier adapter's A beside "${layer.module}" is [${other.dims.join(", ")}], the run's [${dims.join(", ")}]`,
      );
    }
    const numbers = matrices.flatMap((down) => Array.from(down.numbers(), Number));
    return [name, { previous: tensorOf("", type, [numbers.length / fanIn, fanIn], numbers) }];
  });
  if (found.some(([, vectors]) => typeof vectors !== "string")) return new Map(found);
  const own = listed(layers.map(({ module }) => module));
  const theirs = listed(earlier.flatMap((one) => one.layers.map(({ module }) => module)));
  throw new UsageError(`the earlier adapters of o-lora lie beside ${theirs}, the run's beside ${own}`);
}

const isBeside = ({ module, weight }: MarkedLayer, other: string): boolean =>
  module === other || weight === other || module.endsWith(`.${other}`) || other.endsWith(`.${module}`);

/** The first singular vectors of the weights, one a row. */
async function topVectors(
  graph: Graph,
  layers: readonly MarkedLayer[],
  { rank }: PenaltyOptions,
  probe: Probe,
): Promise<FrozenVectors> {
  const found: Found[] = [];
  for (const layer of layers) {
    found.push([layer.parameters.lora_A ?? "", await topVectorsOf(graph, layer, Number(rank), probe)]);
  }
  return new Map(found);
}

async function topVectorsOf(
  graph: Graph,
  layer: MarkedLayer,
  count: number,
  probe: Probe,
): Promise<Found[1]> {
  if (layer.groups !== undefined) return ofGroups;
  if (!formOf(layer) && !layer.packed) return String(layer.stored);
  const [units, fanIn] = [layer.units, elementCount(layer.unit)];
  const directions = Math.min(units, fanIn);
  if (count >= directions) {
    return `its weight [${units}, ${fanIn}] has ${directions} singular directions, and rank=${count} leaves none`;
  }
  const { left, right } = singularVectors(await layerNumbers(graph, layer, probe), units, fanIn, count);
  const type = layer.type === "double" ? "double" : "float";
  return {
    left: tensorOf("", type, [count, units], [...left]),
    right: tensorOf("", type, [count, fanIn], [...right]),
  };
}
