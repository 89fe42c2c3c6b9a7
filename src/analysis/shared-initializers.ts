import type { Graph } from "../graph/graph.ts";
import type { Node, Use, Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { adapted } from "./adapter-names.ts";
import { isNoted, moduleOf, namesOfValue } from "./known-names.ts";
import { matchesAny } from "./name-patterns.ts";
import { isFilled } from "./number-signs.ts";
import { judgeParameter } from "./parameters.ts";
import { type Reading, Readings, weightBeside } from "./readings.ts";
import { normalizations } from "./roles.ts";

/** An initializer that several operators read. */
export interface SharedInitializer {
  readonly value: Value;
  /** Whether training gives each reader its own copy, or keeps one parameter for all. */
  readonly kind: "split" | "tied";
  readonly reason: string;
  /** Whether the file leaves open if its layers share it on purpose: a message names it. */
  readonly doubt?: true;
}

/** Options of {@link findShared}. */
export interface ShareOptions {
  /** A matching initializer stays one parameter, whichever operators read it. */
  readonly tie?: RegExp;
  /** A matching initializer becomes one parameter per reader. */
  readonly untie?: RegExp;
}

/**
 * Float initializers that several operators read, and whether training splits them (DESIGN §5.9). Exporters store equal
 * tensors once: in an untrained network, the biases and running means of all normalizations are one initializer, and so are
 * their scales and running variances (dynamo: one initializer read twice; TorchScript: copies made by Identity). These are
 * split: a vector read in different roles, by several normalizations, as the bias of layers with different weights, or under
 * several names. A matrix that is read twice is tied on purpose, except by layers of an untrained model, and so is a vector of a
 * module that is called twice. A weight with an adapter stays one, and so does the adapter: it acts on all layers that read the
 * weight, and is folded into it once.
 */
export function findShared(graph: Graph, options: ShareOptions = {}): SharedInitializer[] {
  const readings = new Readings(graph);
  const whole = adapted(graph);
  return graph.initializers.flatMap((value) => {
    const isAsked = isFloat(value.type) && !whole.has(value.name);
    const shared = isAsked ? judgeShared(value, readings, options) : undefined;
    return shared ? [{ value, ...shared }] : [];
  });
}

/** Decides whether training splits an initializer; undefined if only one operator reads it, or if it is no parameter. */
export function judgeShared(
  value: Value,
  readings: Readings,
  options: ShareOptions = {},
): Omit<SharedInitializer, "value"> | undefined {
  const places = readings.of(value);
  const ends = new Set(places.map(({ node, index }) => `${index} ${node.label}`));
  if (usesOf(value).length < 2 || ends.size < 2) return undefined;
  const statistic = places.some(({ role }) => role.startsWith("running"));
  if (!statistic && !judgeParameter(value, readings).role) return undefined;
  if (options.tie && matchesAny(options.tie, namesOfValue(value, readings)))
    return { kind: "tied", reason: "named by --tie" };
  if (places.some(({ use }) => use.index < 0)) return { kind: "tied", reason: "read inside a body" };
  if (options.untie && matchesAny(options.untie, namesOfValue(value, readings)))
    return { kind: "split", reason: "named by --untie" };
  const dims = value.initializer?.dims ?? [];
  const vector = dims.filter((dim) => dim !== 1).length <= 1;
  if (!vector) return judgeMatrix(value, places, readings);
  if (elementCount(dims) === 1) return { kind: "tied", reason: "a single number" };
  const aliases = aliasesOf(value).length;
  if (aliases > 0) return { kind: "split", reason: `a vector that the exporter gave ${aliases + 1} names` };
  return judgeVector(value, places);
}

/**
 * A matrix of several layers of an untrained model belongs to each of them: its layers are copies (`nn.TransformerEncoder`), or
 * were filled with zeros. In a trained model such layers differ, and what they share is tied.
 */
function judgeMatrix(
  value: Value,
  places: readonly Reading[],
  readings: Readings,
): Omit<SharedInitializer, "value"> {
  const layers = byLayer(value, places).length;
  const uses = new Set(places.map(({ node, index }) => `${node.op} ${index} ${node.int("transB", 0)}`));
  const reason = `a matrix read by ${places.length} operators`;
  if (layers < 2 || uses.size > 1 || places.some(({ role }) => role !== "weight"))
    return { kind: "tied", reason };
  const tensor = value.initializer;
  return (tensor && isFilled(tensor)) || readings.untrained()
    ? { kind: "split", reason: `a matrix of ${layers} layers, which were initialized alike`, doubt: true }
    : { kind: "tied", reason, doubt: true };
}

function judgeVector(value: Value, readings: readonly Reading[]): Omit<SharedInitializer, "value"> {
  const roles = new Set(readings.map(({ role }) => role));
  const [role] = roles;
  const nodes = new Set(readings.map(({ node }) => node));
  if (byLayer(value, readings).length < 2) {
    return { kind: "tied", reason: `${role} of ${nodes.size} operators` };
  }
  if (roles.size > 1) return { kind: "split", reason: `read as ${[...roles].join(" and ")}` };
  if ([...nodes].some((node) => normalizations.has(node.op))) {
    return { kind: "split", reason: `${role} of ${nodes.size} normalizations` };
  }
  const weights = new Set(readings.map(({ node, index }) => weightBeside(node, index)));
  if (role === "bias" && weights.size > 1) {
    return { kind: "split", reason: `bias of ${nodes.size} layers with different weights` };
  }
  return { kind: "split", reason: `${role} in ${new Set([...nodes].map(moduleOf)).size} modules` };
}

/**
 * The places that read a split initializer, those of one parameter together: a layer that the model calls several times, as
 * the head of a detector, has one bias.
 */
export function readersOf(value: Value, readings: Readings, { untie }: ShareOptions): Use[][] {
  const apart = untie && matchesAny(untie, namesOfValue(value, readings));
  if (apart) return [...value.uses].map((use) => [use]);
  const seen = new Set<string>();
  const groups = byLayer(value, readings.of(value)).map((places) =>
    places.flatMap(({ use }) => {
      const key = `${use.index} ${nameOf(use.node)}`;
      if (seen.has(key)) return [];
      seen.add(key);
      return [use];
    }),
  );
  return groups.filter((uses) => uses.length > 0);
}

/** Readings in the same role and of the same layer together. */
function byLayer(value: Value, readings: readonly Reading[]): Reading[][] {
  const haveModules = readings.every(({ node }) => moduleOf(node) !== undefined);
  const groups = new Map<string, Reading[]>();
  for (const reading of readings) {
    const { node, role, use } = reading;
    const weight = role === "bias" ? weightBeside(node, reading.index)?.name : undefined;
    const read = aliasMadeBy(use) ?? value;
    const own = isOfModule(read, node) ? moduleOfValue(read) : undefined;
    let layer = own ?? (haveModules ? moduleOf(node) : "");
    if (normalizations.has(node.op)) layer = (/\.(weight|bias)$/.test(value.name) && own) || nameOf(node);
    else if (weight !== undefined && !isNoted(node)) layer = "";
    else if (role === "weight" && !own && !isNoted(node)) layer = layer?.replace(laterCall, "");
    const key = JSON.stringify([role, weight, layer]);
    groups.set(key, [...(groups.get(key) ?? []), reading]);
  }
  return [...groups.values()];
}

/** How TorchScript and tf2onnx mark the later calls of a module: `fc`, `fc_1`, `fc_2`. */
const laterCall = /_\d+$/;

const nameOf = (node: Node): string => node.outputs.find((output) => output)?.name ?? node.label;

const moduleOfValue = ({ name }: Value): string => name.slice(0, Math.max(0, name.lastIndexOf(".")));

/** Whether a node belongs to the module whose parameter a value is. */
function isOfModule(value: Value, node: Node): boolean {
  const [module, own] = [moduleOf(node), moduleOfValue(value)];
  return own !== "" && (module === own || (!isNoted(node) && module?.replace(laterCall, "") === own));
}

/** Where a value is read, directly or through a chain of Identity nodes of any length. */
function usesOf(value: Value): Use[] {
  const found: Use[] = [];
  const open = [...value.uses].reverse();
  for (let use = open.pop(); use; use = open.pop()) {
    const alias = aliasMadeBy(use);
    if (alias) open.push(...[...alias.uses].reverse());
    else found.push(use);
  }
  return found;
}

/** The names that chains of Identity nodes give a value. */
function aliasesOf(value: Value): Value[] {
  const found = [value];
  for (const known of found) found.push(...[...known.uses].flatMap((use) => aliasMadeBy(use) ?? []));
  return found.slice(1);
}

/** The output of an Identity that reads a value. */
export const aliasMadeBy = ({ node }: Use): Value | undefined =>
  node.op === "Identity" ? (node.outputs[0] ?? undefined) : undefined;
