import type { Graph } from "../graph/graph.ts";
import type { Use, Value } from "../graph/node.ts";

/** An initializer that several nodes read although they mean different things. */
export interface SharedInitializer {
  readonly value: Value;
  readonly reason: string;
}

/** Options of {@link splitShared}. */
export interface ShareOptions {
  /** What matches stays one, whatever reads it. */
  readonly tie?: RegExp;
  /** What matches becomes one for each reader. */
  readonly untie?: RegExp;
}

const normalizations = new Set([
  "BatchNormalization",
  "LayerNormalization",
  "GroupNormalization",
  "InstanceNormalization",
]);

/**
 * Initializers that exporters merged because their numbers were equal (DESIGN §5.9): a vector read by several
 * normalizations, or as a scale here and a running variance there. Matrices read twice are tied on purpose.
 */
export function findShared(graph: Graph, options: ShareOptions = {}): SharedInitializer[] {
  return graph.initializers.flatMap((value) => {
    const reason = splitReason(value, options);
    return reason ? [{ value, reason }] : [];
  });
}

function splitReason(value: Value, { tie, untie }: ShareOptions): string | undefined {
  const uses = [...value.uses];
  if (uses.length < 2 || uses.some(({ index }) => index < 0) || tie?.test(value.name)) return undefined;
  if (untie?.test(value.name)) return "named by --untie";
  const reads = uses.filter(({ node }) => normalizations.has(node.op));
  if (reads.length === 0) return undefined;
  if (reads.length < uses.length) return "read by a normalization and by other operators";
  if (new Set(reads.map(({ index }) => index)).size > 1) return "read in different roles of a normalization";
  return "a vector read by several normalizations";
}

/**
 * Gives each reader of a shared initializer its own. The first keeps the name; the others get `<name>/<n>`.
 * @returns the names of the copies, by the name of the initializer they came from
 */
export function splitShared(graph: Graph, options: ShareOptions = {}): Map<string, string[]> {
  const copies = new Map<string, string[]>();
  for (const { value } of findShared(graph, options)) {
    const tensor = value.initializer;
    if (!tensor) continue;
    const [, ...others]: Use[] = [...value.uses];
    const names = others.map((use) => {
      const copy = graph.addInitializer(tensor.named(graph.freshName(`${value.name}/split`)));
      graph.setInput(use, copy);
      return copy.name;
    });
    copies.set(value.name, names);
  }
  return copies;
}
