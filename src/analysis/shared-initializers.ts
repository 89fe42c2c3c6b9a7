import { UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Use, Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import { moduleOf, namesOfValue } from "./known-names.ts";
import { checkMatches, matchesAny } from "./name-patterns.ts";
import { judgeParameter } from "./parameters.ts";
import { type Reading, Readings, weightBeside } from "./readings.ts";
import { normalizations } from "./roles.ts";

/** An initializer that several operators read. */
export interface SharedInitializer {
  readonly value: Value;
  /** Whether training gives each reader its own copy, or keeps one parameter for all. */
  readonly kind: "split" | "tied";
  readonly reason: string;
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
 * several names. A matrix that is read twice is tied on purpose.
 */
export function findShared(graph: Graph, options: ShareOptions = {}): SharedInitializer[] {
  const floats = graph.initializers.filter(({ type }) => isFloat(type));
  const { tie, untie } = options;
  const readings = new Readings(graph);
  const found = floats.flatMap((value) => {
    const shared = judgeShared(value, readings, options);
    return shared ? [{ value, ...shared }] : [];
  });
  const known = tie || untie ? found.map(({ value }) => namesOfValue(value, readings)) : [];
  for (const [option, pattern] of Object.entries({ "--tie": tie, "--untie": untie })) {
    if (!pattern) continue;
    // What matches every name, as that of a rescued run, is a rule for what may be shared.
    if (found.length === 0 && !matchesAny(pattern, [""]))
      throw new UsageError(`${option}: no parameter is read by several nodes`);
    checkMatches(option, pattern, "shared parameter", known);
  }
  return found;
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
  if (!vector) return { kind: "tied", reason: `a matrix read by ${places.length} operators` };
  if (elementCount(dims) === 1) return { kind: "tied", reason: "a single number" };
  if ([...value.uses].some(aliasMadeBy)) {
    return { kind: "split", reason: `a vector that the exporter gave ${places.length} names` };
  }
  return judgeVector(places);
}

function judgeVector(readings: readonly Reading[]): Omit<SharedInitializer, "value"> {
  const roles = new Set(readings.map(({ role }) => role));
  if (roles.size > 1) return { kind: "split", reason: `read as ${[...roles].join(" and ")}` };
  const [role] = roles;
  const nodes = new Set(readings.map(({ node }) => node));
  if ([...nodes].some((node) => normalizations.has(node.op))) {
    return { kind: "split", reason: `${role} of ${nodes.size} normalizations` };
  }
  const weights = new Set(readings.map(({ node, index }) => weightBeside(node, index)));
  if (role === "bias" && weights.size > 1) {
    return { kind: "split", reason: `bias of ${nodes.size} layers with different weights` };
  }
  const modules = new Set([...nodes].map(moduleOf));
  if (modules.size > 1 && !modules.has(undefined)) {
    return { kind: "split", reason: `${role} in ${modules.size} modules` };
  }
  return { kind: "tied", reason: `${role} of ${nodes.size} operators` };
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

/** The output of an Identity that reads a value. */
export const aliasMadeBy = ({ node }: Use): Value | undefined =>
  node.op === "Identity" ? (node.outputs[0] ?? undefined) : undefined;
