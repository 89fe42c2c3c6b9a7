import type { Node, Value } from "../graph/node.ts";

/** A value through which everything passes: what comes later depends on nothing else that came before. */
export interface NarrowCut {
  readonly value: Value;
  /** Position of the node that computes it. */
  readonly at: number;
}

/** A value that at least this many nodes read (a mask, a table of relative positions) belongs to the whole network, not to one place. */
const widelyRead = 6;

/** Operators of which a block has at least one. */
const heavy =
  /^(Fused|Transpose)?(MatMul|Gemm)|^(Conv|ConvTranspose|FusedConv|Einsum|LSTM|GRU|RNN|DeformConv)$|Attention$/;

/** The values that belong to the whole network. */
export const isShared = (value: Value, nodes: ReadonlySet<Node>): boolean =>
  [...value.uses].filter(({ node }) => nodes.has(node)).length >= widelyRead;

/**
 * The narrow cuts of a part of a graph, in order: the outputs of blocks. Inputs and weights do not count, nor do values that
 * many nodes read. Of several cuts without a product or convolution between them, the last one counts.
 * @param order - the nodes of the part, each behind those that it reads
 * @param ends - values that are read behind the part, if nothing in it reads them
 */
export function narrowCuts(order: readonly Node[], ends: ReadonlySet<Value>): NarrowCut[] {
  const position = new Map(order.map((node, at) => [node, at]));
  const part = new Set(order);
  const open = new Map<Value, number>();
  const cuts: NarrowCut[] = [];
  let sameBlock = false;
  for (const [at, node] of order.entries()) {
    for (const value of node.outputs) {
      if (!value || isShared(value, part)) continue;
      const reads = [...value.uses].map((use) => position.get(use.node) ?? -1);
      const last = Math.max(-1, ...reads);
      open.set(value, last < 0 && ends.has(value) ? order.length : last);
    }
    for (const [value, last] of open) if (last <= at) open.delete(value);
    const [only] = open.keys();
    if (heavy.test(node.opType)) sameBlock = false;
    if (!only || open.size > 1 || only.producer !== node) continue;
    if (sameBlock) cuts.pop();
    cuts.push({ value: only, at });
    sameBlock = true;
  }
  return cuts;
}
