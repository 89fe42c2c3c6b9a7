import { UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import { adapted } from "./adapter-names.ts";
import { findCopies } from "./copies.ts";
import { namesOfValue } from "./known-names.ts";
import { checkMatches, matchesAny } from "./name-patterns.ts";
import { Readings } from "./readings.ts";
import { findShared, type ShareOptions } from "./shared-initializers.ts";

/** Looks at a graph before copies are tied, and returns a check that refuses, after that, options that select nothing. */
export type ShareCheck = (graph: Graph, options: ShareOptions) => () => void;

/**
 * The check of `--tie` and `--untie`: each must match a shared parameter, or a copy in another layout.
 * @throws UsageError with similar names, from the function that it returns
 */
export const shareCheck: ShareCheck = (graph, options) => {
  const { tie, untie } = options;
  if (!tie && !untie) return () => {};
  const copies = namesOfCopies(graph, options);
  return () => {
    const readings = new Readings(graph);
    if (untie) checkNotAdapted(graph, untie, readings);
    const shared = findShared(graph, options).map(({ value }) => value);
    const known = [...[...shared, ...adaptedOf(graph)].map((one) => namesOfValue(one, readings)), ...copies];
    for (const [option, pattern] of Object.entries({ "--tie": tie, "--untie": untie })) {
      if (!pattern) continue;
      // A pattern that matches every name, such as that of a rescued run, is a rule for what may be shared: it need not select anything.
      if (known.length === 0 && !matchesAny(pattern, [""]))
        throw new UsageError(`${option}: no parameter is read by several nodes`);
      checkMatches(option, pattern, "shared parameter", known);
    }
  };
};

/** @throws UsageError for a weight with an adapter, which acts on all layers that read it */
function checkNotAdapted(graph: Graph, untie: RegExp, readings: Readings): void {
  const one = adaptedOf(graph).find((value) => matchesAny(untie, namesOfValue(value, readings)));
  if (!one) return;
  throw new UsageError(
    `--untie: "${one.name}" stays one parameter, because an adapter acts on all layers that read a weight: leave it out, or give these layers no adapter`,
  );
}

/** Weights with adapters, and parameters of these, that several nodes read. */
function adaptedOf(graph: Graph): Value[] {
  const whole = adapted(graph);
  return graph.initializers.filter(({ name, uses }) => whole.has(name) && uses.size > 1);
}

/** The names of each parameter and its copy that `--tie` ties, or that are tied unless `--untie` matches one of them. */
function namesOfCopies(graph: Graph, { tie }: ShareOptions): string[][] {
  const readings = new Readings(graph);
  return findCopies(graph, tie ? { tie } : {}).map(({ name, of }) =>
    [name, of].flatMap((one) => {
      const value = graph.value(one);
      return value ? namesOfValue(value, readings) : [one];
    }),
  );
}
