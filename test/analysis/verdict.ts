import { findParameters } from "../../src/analysis/parameters.ts";
import type { Value } from "../../src/graph/node.ts";
import { liftConstants } from "../../src/passes/cleanup/lift-constants.ts";
import { runGraphPass } from "../../src/passes/pass.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

/** What findParameters says of a value in a graph built around the input x. */
export function verdict(name: string, build: (b: GraphBuilder, x: Value) => Value): string {
  const b = new GraphBuilder();
  b.output(build(b, b.input("x", [2, 4])));
  runGraphPass(liftConstants(), b.graph);
  const { parameters, constants } = findParameters(b.graph);
  const parameter = parameters.find(({ value }) => value.name === name);
  if (parameter) return `${parameter.role}: ${parameter.reason}`;
  return `not: ${constants.find(({ value }) => value.name === name)?.reason}`;
}
