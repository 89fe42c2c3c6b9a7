import { injectedNodes, markKey } from "../analysis/block-nodes.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import type { Penalty } from "../penalties/penalty.ts";
import { type PenaltyPlan, resolvePlans } from "../penalties/plan.ts";
import { penaltyNamed } from "../penalties/table.ts";
import { mayBacktrack, patternOfNames } from "./bounded-pattern.ts";
import { damaged, type Mark, type MarkedPattern, type MarkedPenalty, parseMark } from "./mark.ts";

/** An injected block in a graph. */
export interface Block {
  readonly mark: Mark;
  readonly nodes: ReadonlySet<Node>;
  /** R, unweighted. */
  readonly penalty: Value | undefined;
  /** The output that holds loss + w·R, and the model's own loss. */
  readonly loss: { readonly total: Value; readonly original: Value } | undefined;
  /** The penalties it was made from. @throws UsageError, on reading, for a penalty that this package does not have. */
  readonly penalties: readonly PenaltyPlan[];
}

/** Names of the graph outputs that a block added. */
export function addedOutputs(mark: Mark): Set<string> {
  return new Set([mark.penalty, ...mark.perSite, ...(mark.objective ? [mark.objective.output] : [])]);
}

/** The parts of a model that a mark refers to. */
interface MarkedModel {
  readonly outputs: readonly string[];
  /** Whether a node of the block computes that value. */
  readonly isComputed: (name: string) => boolean;
  /** Whether a node outside of the block reads that value. */
  readonly isReadElsewhere: (name: string) => boolean;
}

/** @throws SorthError for a mark that claims a part of the model, which would be removed with the block. */
export function checkFits(mark: Mark, { outputs, isComputed, isReadElsewhere }: MarkedModel): void {
  const own = [...addedOutputs(mark), ...(mark.loss ? [mark.loss.name] : [])].find(
    (name) => outputs.includes(name) && !isComputed(name),
  );
  if (own !== undefined) throw damaged(`it names the output "${own}", which no node of the block computes`);
  const labels = mark.objective?.labels;
  if (labels !== undefined && isReadElsewhere(labels)) {
    throw damaged(`it names the input "${labels}", which the model itself reads`);
  }
}

/**
 * The injected block of a graph, if it has one.
 * @throws SorthError if its mark is damaged.
 *
 * @example
 * const block = blockOf(graph);
 * if (block) removeBlock(graph, block); // the graph as it was before inject
 */
export function blockOf(graph: Graph): Block | undefined {
  const text = graph.metadata.get(markKey);
  if (text === undefined) return undefined;
  const mark = parseMark(text);
  const nodes = injectedNodes(graph);
  checkFits(mark, {
    outputs: graph.outputs.map(({ name }) => name),
    isComputed: (name) => !!graph.value(name)?.producer && nodes.has(graph.value(name)?.producer as Node),
    isReadElsewhere: (name) => [...(graph.value(name)?.uses ?? [])].some(({ node }) => !nodes.has(node)),
  });
  const total = mark.loss && graph.value(mark.loss.name);
  const original = mark.loss && graph.value(mark.loss.original);
  return {
    mark,
    nodes,
    penalty: graph.value(mark.penalty),
    loss: total && original && { total, original },
    get penalties() {
      return plansOf(mark);
    },
  };
}

/**
 * The plans that a block was made from.
 * @param own - the caller's own penalties
 * @throws UsageError for a penalty that neither the caller nor this package has
 */
export function plansOf(mark: Mark, own: readonly Penalty[] = []): PenaltyPlan[] {
  const plans = mark.penalties.map(({ name, options, weight, schedule }) => ({
    penalty: own.find(({ definition }) => definition.name === name) ?? penaltyNamed(name, options),
    weight,
    ...(schedule !== undefined && { schedule }),
  }));
  const labels = resolvePlans(plans).plans.map(({ label }) => label);
  return plans.map((plan, i) => ({ ...plan, ...layersOf(mark, mark.penalties[i], labels[i]) }));
}

/**
 * Patterns for the layers of a block's plan: its own or, if one of them might never finish (a file can contain any pattern),
 * patterns that match exactly the layers listed in the mark.
 */
function layersOf(
  mark: Mark,
  { include, exclude }: Partial<MarkedPenalty> = {},
  label = "",
): Pick<PenaltyPlan, "include" | "exclude"> {
  const given = [include, exclude].filter((pattern) => pattern !== undefined);
  if (given.some(({ source }) => mayBacktrack(source))) {
    const sites = mark.sites.filter(({ penalties }) => penalties.includes(label));
    return { include: patternOfNames(sites.map(({ name }) => name)) };
  }
  const pattern = ({ source, flags }: MarkedPattern) => new RegExp(source, flags);
  return { ...(include && { include: pattern(include) }), ...(exclude && { exclude: pattern(exclude) }) };
}

/** Removes a block from a graph: its nodes, outputs, input and mark. The model's own values get their names back. */
export function removeBlock(graph: Graph, block: Block): void {
  const { mark, nodes, loss } = block;
  const added = addedOutputs(mark);
  const outputs = graph.outputs.flatMap((output) => {
    if (added.has(output.name)) return [];
    return loss && output === loss.total ? [loss.original] : [output];
  });
  graph.outputs.splice(0, graph.outputs.length, ...outputs);
  const name = mark.loss?.name;
  const gradients = (mark.gradients ?? []).flatMap(({ name, original }) => {
    const [total, own] = [graph.value(name), graph.value(original)];
    if (!total || !own) return [];
    graph.replaceUses(total, own, { except: nodes, outputs: true });
    return [{ name, own }];
  });
  graph.removeNodes(nodes);
  for (const gradient of gradients) graph.rename(gradient.own, gradient.name);
  if (loss && name !== undefined) {
    graph.rename(loss.original, name);
    loss.original.declared = loss.total.declared;
    loss.original.type ??= loss.total.type;
  }
  const labels = mark.objective && graph.value(mark.objective.labels);
  if (labels) graph.removeInput(labels);
  graph.removeUnusedConstants();
  graph.metadata.delete(markKey);
}
