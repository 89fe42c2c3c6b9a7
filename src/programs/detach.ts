import { hiddenValues, innerValues } from "../analysis/inner-values.ts";
import { matchesAny } from "../analysis/name-patterns.ts";
import { UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { setApart } from "../graph/set-apart.ts";
import { isFloat } from "../onnx/data-types.ts";

/**
 * The inner values at which gradients stop, by a pattern of their names or of the nodes that compute them.
 * @param graph - before bodies are written out
 * @throws UsageError when the pattern matches no inner value
 */
export function valuesToDetach(graph: Graph, pattern: RegExp): Value[] {
  const found = innerValues(graph).flatMap(({ value, names }) => (matchesAny(pattern, names) ? [value] : []));
  if (found.length > 0) return found;
  const [hidden] = hiddenValues(graph, pattern);
  if (hidden) {
    throw new UsageError(
      `"${hidden.name}" is computed in ${hidden.place}, whose values exist only while it runs: give --detach a value that it returns`,
    );
  }
  throw new UsageError(
    `no inner value matches ${pattern} (--detach): sorth-onnx tap MODEL --list shows the inner values`,
  );
}

/**
 * Parts each value from the operator that computes it, so that no rewrite for gradients merges across it.
 * @param trained - the parameters; without them, nothing is checked
 * @returns the names at which gradients stop
 * @throws UsageError when no gradient would come by
 */
export function detach(
  graph: Graph,
  values: readonly Value[],
  trained: readonly Value[] | undefined,
  onMessage?: (message: string) => void,
): string[] {
  const floats = values.filter(({ type, producer }) => producer && (type === undefined || isFloat(type)));
  const names = floats.map(({ name }) => name);
  const shown = values.map(({ name }) => `"${name}"`).join(", ");
  if (floats.length === 0) {
    throw new UsageError(`--detach would have no effect: ${shown} have no gradient; leave it out`);
  }
  if (trained) {
    const reached = new Set<Value | null>(trained);
    for (const { inputs, captures, outputs } of graph.nodes) {
      if ([...inputs, ...captures].some((value) => value && reached.has(value)))
        for (const output of outputs) reached.add(output);
    }
    if (!floats.some((value) => reached.has(value))) {
      throw new UsageError(
        `--detach would have no effect: no trained parameter reaches ${shown}; leave it out`,
      );
    }
  }
  for (const value of floats) setApart(graph, value);
  onMessage?.(`gradients stop at ${names.join(", ")}`);
  return names;
}
