import { UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { namesOfValue } from "./known-names.ts";
import type { Parameter } from "./parameters.ts";
import { Readings } from "./readings.ts";

/**
 * A part of a model that is often trained alone:
 *
 * - `biases`: the biases of layers and normalizations (BitFit: Ben Zaken et al. 2021, arXiv 2106.10199)
 * - `lastBlocks`: this number of the last blocks, and what comes after them. Blocks are what the names number
 *   (`encoder.layer.11`, `layer4.1`); in a model without such names each layer is one
 */
export type ModelPart = "biases" | { readonly lastBlocks: number };

/** The parameters of a part, and the part in words. */
interface ChosenPart {
  readonly parameters: readonly Parameter[];
  readonly what: string;
}

/** A parameter with its place in the graph. */
interface Placed {
  readonly parameter: Parameter;
  /** Index of the first node that reads it. */
  readonly at: number;
  /** The numbered block to which its name belongs. */
  readonly block: string | undefined;
}

/**
 * The parameters of a part.
 * @param parameters - all parameters of the graph
 * @param withHead - whether the last layer is trained in full, too
 * @throws UsageError for a model that has no such part
 */
export function parametersOfPart(
  graph: Graph,
  parameters: readonly Parameter[],
  part: ModelPart,
  withHead = false,
): ChosenPart {
  const placed = placedIn(graph, parameters);
  const head = headIn(placed);
  if (part === "biases") {
    const chosen = placed.filter((one) => one.parameter.role === "bias" || (withHead && head.includes(one)));
    if (!chosen.some(({ parameter }) => parameter.role === "bias")) {
      throw new UsageError("the model has no biases to train");
    }
    return {
      parameters: chosen.map(({ parameter }) => parameter),
      what: withHead ? "the biases and the last layer" : "the biases",
    };
  }
  const blocks = blocksIn(placed, head);
  const { lastBlocks } = part;
  const first = blocks.at(-lastBlocks);
  if (lastBlocks < 1 || lastBlocks > blocks.length || !first) {
    const names = blocks.map(({ name }) => name);
    throw new UsageError(
      `the model has ${blocks.length} blocks before its last layer (${names.join(", ")}): train 1 to ${blocks.length} of them`,
    );
  }
  const chosen = placed.filter(({ at }) => at >= first.at);
  const names = blocks.slice(-lastBlocks).map(({ name }) => name);
  return {
    parameters: chosen.map(({ parameter }) => parameter),
    what: `${names.join(", ")} and what comes after ${names.length === 1 ? "it" : "them"}`,
  };
}

/** The parameters in the order in which the graph reads them. */
function placedIn(graph: Graph, parameters: readonly Parameter[]): Placed[] {
  const readings = new Readings(graph);
  const order = new Map(graph.nodes.map((node, i) => [node, i]));
  const placed = parameters.map((parameter): Placed => {
    const found = readings.of(parameter.value);
    const places = found.map(({ node, use }) => order.get(node) ?? order.get(use.node) ?? 0);
    // TorchScript's path of a node (`/encoder/layers.0/linear1/MatMul`) is there once more as its module (`encoder.layers.0.linear1`).
    const names = namesOfValue(parameter.value, readings).filter((name) => !name.startsWith("/"));
    // A parameter that was one for several layers is called after the first of them, with a number (`norm.bias/2`).
    const blocks = names.map((name) => blockOf(name.replace(/\/\d+$/, "")));
    return { parameter, at: Math.min(...places), block: blocks.find((block) => block !== undefined) };
  });
  return placed.sort((a, b) => a.at - b.at);
}

/** `encoder.layer.11` of `encoder.layer.11.attention.query.weight`: the name up to its first number. */
function blockOf(name: string): string | undefined {
  const parts = name.split(/([./])/);
  const number = parts.findIndex((part) => /^\d+$/.test(part));
  return number < 0 ? undefined : parts.slice(0, number + 1).join("");
}

/** The parameters of the last layer. */
function headIn(placed: readonly Placed[]): readonly Placed[] {
  const last = placed.findLast(({ parameter }) => parameter.role === "weight");
  return last ? placed.filter(({ at }) => at >= last.at) : [];
}

/** The blocks before the last layer, each with the place where it begins. */
function blocksIn(placed: readonly Placed[], head: readonly Placed[]): { name: string; at: number }[] {
  const inner = placed.filter((one) => !head.includes(one));
  const blocks = new Map<string, number>();
  for (const { block, at } of inner) if (block !== undefined && !blocks.has(block)) blocks.set(block, at);
  if (blocks.size > 0) return [...blocks].map(([name, at]) => ({ name, at }));
  const weights = inner.filter(({ parameter }) => parameter.role === "weight");
  return weights.map(({ parameter, at }) => ({ name: parameter.value.name, at }));
}
