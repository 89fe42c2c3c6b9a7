import { foldedFrom, isAnonymous } from "../analysis/exporter-names.ts";
import { inferShapes } from "../analysis/infer.ts";
import { moduleOf, namesOfLayer } from "../analysis/known-names.ts";
import { checkMatches, matchesAny } from "../analysis/name-patterns.ts";
import type { Probe } from "../analysis/probe.ts";
import { constantTensor } from "../analysis/probe-model.ts";
import type { Site } from "../analysis/site-types.ts";
import { findSites } from "../analysis/sites.ts";
import { UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { type DataTypeName, isFloat } from "../onnx/data-types.ts";
import type { LoraOptions } from "./adapter.ts";
import { lastLayers } from "./last-layers.ts";
import { biasOf, type LayerBias } from "./layer-bias.ts";
import { type WeightStep, weightSteps } from "./weight-steps.ts";

/** A layer beside which an adapter can be put, described by names, so that a file can hold the description. */
export interface Layer {
  /** Name of the operator's node, or of its output if the node has no name. */
  readonly name: string;
  /** Its module in the source, by which PEFT names it; the weight's name if the source is not known. */
  readonly module: string;
  /** `right`: Y = x·W. `left`: Y = W·x. `convolution`: Y = conv(x, W). */
  readonly form: "right" | "left" | "convolution";
  /** The value that the operator reads as data. */
  readonly input: string;
  /** Whether the operator transposes that value first (Gemm). */
  readonly transposed: boolean;
  /** The operator's own output, and the value with its bias added. */
  readonly product: string;
  readonly response: string;
  /** The type of both. */
  readonly type: DataTypeName;
  /** The stored weight. */
  readonly weight: string;
  /** Shape of one unit's weights: [in], of a convolution [in, …kernel]. */
  readonly unit: readonly number[];
  readonly units: number;
  /** The convolution's geometry: its integer attributes and auto_pad. */
  readonly geometry?: Readonly<Record<string, readonly number[] | string>>;
  /** The bias that the layer adds; absent if it adds none. */
  readonly bias?: LayerBias;
  /** How the weight that the operator reads follows from the stored one; a text says why nothing can be merged into it. */
  readonly stored: StoredForm | string;
}

/** The way from a stored weight to the operand of a layer. */
export interface StoredForm {
  /** Whether the operand is [out, in, …] rather than [in, out]. */
  readonly unitsFirst: boolean;
  /** Name of the operand. */
  readonly operand: string;
  /** The operator multiplies the product with it (Gemm's alpha). */
  readonly factor: number;
  /** Shape of the operand. */
  readonly dims: readonly number[];
  readonly steps: readonly WeightStep[];
}

/** A layer with what only a graph in memory has. */
export interface FoundLayer extends Layer {
  /** Names that --include and --exclude match. */
  readonly names: readonly string[];
  /** Whether it is linear, as torch.nn.Linear, rather than a convolution. */
  readonly linear: boolean;
  /** The node after which the adapter comes: it computes the response. */
  readonly last: Node;
}

/** A layer that takes no adapter. */
export interface RefusedLayer {
  readonly name: string;
  readonly names: readonly string[];
  readonly reason: string;
}

/**
 * The layers of a graph that can have adapters, in the graph's order, and those that cannot with the reason.
 * @param graph - with inferred shapes ({@link inferShapes})
 */
export function findLayers(graph: Graph): { layers: FoundLayer[]; refused: RefusedLayer[] } {
  const layers: FoundLayer[] = [];
  const refused: RefusedLayer[] = [];
  const { sites, skipped } = findSites(graph, { openResponses: true });
  refused.push(...skipped.map(({ name, reason }) => ({ name, names: [name], reason })));
  const add = (layer: FoundLayer | RefusedLayer) =>
    "reason" in layer ? refused.push(layer) : layers.push(layer);
  for (const site of sites) add(ofSite(site));
  for (const node of graph.nodes) if (node.op === "com.microsoft.MatMulNBits") add(ofBlocks(node));
  const order = new Map(graph.nodes.map((node, i) => [node, i]));
  layers.sort((a, b) => (order.get(a.last) ?? 0) - (order.get(b.last) ?? 0));
  // Penalties take no layer whose weight holds integers; adapters do.
  const names = new Set(layers.map(({ name }) => name));
  return { layers: withOwnModules(layers), refused: refused.filter(({ name }) => !names.has(name)) };
}

/**
 * The layers that the options choose.
 * @throws UsageError if a pattern matches nothing, or no layer is left
 */
export function chosenLayers(
  graph: Graph,
  { include, exclude }: Pick<LoraOptions, "include" | "exclude">,
  onMessage?: (message: string) => void,
): FoundLayer[] {
  const { layers, refused } = findLayers(graph);
  const names = [...layers, ...refused].map((layer) => layer.names);
  if (include) checkMatches("include", include, "layer", names);
  if (exclude) checkMatches("exclude", exclude, "layer", names);
  const kept = layers.filter((layer) => !exclude || !matchesAny(exclude, layer.names));
  if (include) {
    const chosen = kept.filter((layer) => matchesAny(include, layer.names));
    const asked = refused.filter((layer) => matchesAny(include, layer.names));
    for (const { name, reason } of asked) onMessage?.(`no adapter beside "${name}": ${reason}`);
    if (chosen.length > 0) return chosen;
    throw new UsageError(
      asked[0] ? `no layer can have an adapter: "${asked[0].name}": ${asked[0].reason}` : noLayer,
    );
  }
  const last = lastLayers(graph, new Set(layers.map(({ last }) => last)));
  const inner = kept.filter((layer) => !last.has(layer.last));
  const linear = inner.filter((layer) => layer.linear);
  if (linear.length > 0) return linear;
  if (inner.length > 0) {
    onMessage?.("adapters beside the convolutions: the model has no linear layer but its last one");
    return inner;
  }
  throw new UsageError(
    layers.length === 0
      ? noLayer
      : `the model has no layer but ${layers.map(({ name }) => `"${name}"`).join(", ")}, which gives the output: name it to put an adapter beside it (include=RE)`,
  );
}

const noLayer = "the model has no layer that can have an adapter (sorth-onnx inspect lists its layers)";

/** Infers the shapes that finding layers needs; free dimensions may stay open. */
export const inferForLayers = (
  graph: Graph,
  probe: Probe,
  { batch, dims }: { readonly batch?: number; readonly dims?: Readonly<Record<string, number>> },
): Promise<unknown> =>
  inferShapes(graph, probe, { ...(batch !== undefined && { batch }), ...(dims && { dims }), open: true });

function ofSite(site: Site): FoundLayer | RefusedLayer {
  const { node, response, weight, weightInput, name, names, op, units, fanIn } = site;
  const refuse = (reason: string): RefusedLayer => ({ name, names, reason });
  if (op === "ConvTranspose") return refuse("a ConvTranspose, for which PEFT has no adapter either");
  if (site.groups > 1) return refuse("a convolution with groups, into which PEFT merges no adapter either");
  if (!constantTensor(weight)) return refuse("its weight is an input of the model");
  const data = node.inputs[1 - weightInput];
  const operand = node.inputs[weightInput];
  const [product] = node.outputs;
  if (!data || !operand || !product || !response.producer || !isFloat(response.type)) {
    return refuse("its operands are not known");
  }
  const right = weightInput === 1;
  const convolution = op === "Conv";
  const flags = op === "Gemm" ? [node.flag("transA"), node.flag("transB")] : [false, false];
  const unitsFirst = convolution || (right ? flags[1] : !flags[0]) === true;
  const steps = weightSteps(operand);
  const bias = biasOf(site);
  return {
    ...{ name, names, linear: !convolution, last: response.producer },
    module: moduleNamed(node, weight),
    form: convolution ? "convolution" : right ? "right" : "left",
    ...{ input: data.name, transposed: flags[right ? 0 : 1] === true },
    ...{
      product: product.name,
      response: response.name,
      type: response.type ?? "float",
      weight: weight.name,
    },
    unit: convolution ? (operand.shape ?? []).slice(1) : [fanIn],
    units,
    ...(convolution && { geometry: geometryOf(node) }),
    ...(bias && { bias }),
    stored:
      typeof steps === "string"
        ? steps
        : {
            ...{ unitsFirst, operand: operand.name, factor: node.float("alpha", 1) },
            ...{ dims: operand.shape ?? [], steps },
          },
  };
}

/** A product with a weight of 4 or 8 bits. */
function ofBlocks(node: Node): FoundLayer | RefusedLayer {
  const [data, weight] = node.inputs;
  const [product] = node.outputs;
  const [units, fanIn] = [node.int("N", 0), node.int("K", 0)];
  const name = node.label;
  const names = weight ? namesOfLayer(node, weight, undefined) : [name];
  if (!data || !weight || !product || units < 1 || fanIn < 1) {
    return { name, names, reason: "its operands are not known" };
  }
  return {
    ...{ name, names, linear: true, last: node, module: moduleNamed(node, weight), form: "right" },
    ...{ input: data.name, transposed: false, product: product.name, response: product.name },
    ...{ type: product.type ?? data.type ?? "float", weight: weight.name, unit: [fanIn], units },
    stored: `its weight has ${node.int("bits", 4)} bits (MatMulNBits)`,
  };
}

/** The convolution's integer attributes, without its groups, and auto_pad. */
function geometryOf(node: Node): Record<string, readonly number[] | string> {
  const geometry: Record<string, readonly number[] | string> = {};
  for (const name of ["kernel_shape", "strides", "pads", "dilations"]) {
    const numbers = node.ints(name);
    if (numbers) geometry[name] = numbers;
  }
  const padding = node.string("auto_pad", "NOTSET");
  if (padding !== "NOTSET") geometry.auto_pad = padding;
  return geometry;
}

/** A layer's module: `fc1` of `fc1.weight`, else what the node's name says, else the weight's name. */
function moduleNamed(node: Node, weight: Value): string {
  const own = isAnonymous(weight) ? foldedFrom(weight) : [weight.name, ...foldedFrom(weight)];
  for (const name of own) {
    const module =
      /^(.+?)(\.MatMul)?\.(weight|kernel|original\d?|parametrizations\.weight\.original\d?)(_\w+|\.merged(_\d+)?)?$/.exec(
        name,
      )?.[1];
    if (module !== undefined) return module;
  }
  return moduleOf(node) ?? weight.name;
}

/** Layers of different weights have different modules; those that the names do not tell apart are called by their weights. */
function withOwnModules(layers: readonly FoundLayer[]): FoundLayer[] {
  const weights = new Map<string, Set<string>>();
  for (const { module, weight } of layers) {
    weights.set(module, (weights.get(module) ?? new Set()).add(weight));
  }
  return layers.map((layer) => {
    const module = (weights.get(layer.module)?.size ?? 1) > 1 ? layer.weight : layer.module;
    return { ...layer, module, names: [...new Set([...layer.names, module])] };
  });
}
