import { Readings } from "../../analysis/readings.ts";
import {
  aliasMadeBy,
  findShared,
  judgeShared,
  readersOf,
  type SharedInitializer,
  type ShareOptions,
} from "../../analysis/shared-initializers.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Value } from "../../graph/node.ts";
import type { Tensor } from "../../onnx/tensor.ts";
import { changed, counted, defineGraphPass, unchanged } from "../pass.ts";

/** An initializer that several operators read, and the names of its copies: none if it is tied. */
export interface Shared extends SharedInitializer {
  readonly copies: readonly string[];
}

/**
 * Gives each layer that reads a split initializer its own copy. An Identity's output becomes an initializer, which restores the
 * name that the exporter merged away; where several layers read one name the first keeps it and the others get
 * `<name>/2`, `<name>/3` …: the same names for the same file every time.
 *
 *     BatchNormalization(x, scale, b, b, variance)  →  BatchNormalization(x, scale, b, b/2, variance)
 *
 * @returns every shared initializer
 * @example
 * const shared = runGraphPass(splitShared({ tie: /embedding/ }), graph);
 * shared.map(({ value, copies }) => `${value.name}: ${copies}`); // ["bn1.bias: bn1.bias/2"]
 */
export const splitShared = defineGraphPass({
  name: "split-shared",
  options: {} as ShareOptions,
  run(graph, options) {
    const shared = findShared(graph, options).map((found): Shared => {
      const { value, kind } = found;
      const tensor = value.initializer;
      return { ...found, copies: kind === "split" && tensor ? split(graph, value, tensor, options) : [] };
    });
    const count = shared.filter(({ copies }) => copies.length > 0).length;
    return count > 0
      ? changed(counted(count, "initializer"), shared)
      : unchanged(
          shared.length > 0
            ? `${counted(shared.length, "initializer")} shared on purpose`
            : "no initializer is shared",
          shared,
        );
  },
});

function split(graph: Graph, value: Value, tensor: Tensor, options: ShareOptions): string[] {
  const aliases = [...value.uses].flatMap((use) => {
    const alias = aliasMadeBy(use);
    if (!alias) return [];
    graph.setConstant(alias, tensor.named(alias.name));
    graph.removeNodes(new Set([use.node]));
    return [alias];
  });
  const copies = aliases.map(({ name }) => name);
  const readings = new Readings(graph);
  if (judgeShared(value, readings, options)?.kind === "split") {
    const [, ...others] = readersOf(value, readings, options);
    others.forEach((uses, i) => {
      let name = `${value.name}/${i + 2}`;
      while (graph.value(name)) name += "'";
      const copy = graph.addInitializer(tensor.named(name));
      for (const use of uses) graph.setInput(use, copy);
      copies.push(name);
    });
  }
  // An alias may be read twice itself, and by further aliases.
  for (const alias of aliases) {
    if (judgeShared(alias, new Readings(graph), options)?.kind === "split")
      copies.push(...split(graph, alias, tensor, options));
  }
  return copies;
}
