import type { Graph } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/node.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import type { Pass, PassContext } from "../../src/passes/pass.ts";
import type { passes } from "../../src/passes/table.ts";
import type { GraphBuilder } from "../helpers/build-graph.ts";

/** A pass and the small graph that shows what it does. */
export interface PassCase {
  readonly pass: Pass<unknown>;
  readonly graph: Graph;
  readonly context: PassContext;
}

type Made = Graph | (Partial<PassCase> & { readonly graph: Graph });

/** Makes the graph of a pass; with it the pass where that needs options, and its context. */
export type Make = () => Made | Promise<Made>;

/** The graphs of some passes by their names in the table. */
export type Makers = { readonly [name in keyof typeof passes]?: Make };

export const vector = (b: GraphBuilder, name: string, numbers: readonly number[]): Value =>
  b.graph.addInitializer(Tensor.float(name, [numbers.length], numbers));

export const flag = (b: GraphBuilder, name: string, value: boolean): Value =>
  b.graph.addInitializer(Tensor.of(name, "bool", [], Uint8Array.of(value ? 1 : 0)));
