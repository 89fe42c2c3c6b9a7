import type { Emit } from "../../../graph/emit.ts";
import { type Typed, typed } from "../../../graph/emit-base.ts";
import type { Node } from "../../../graph/node.ts";
import { normalizeAxis } from "../../../graph/shapes.ts";

/**
 * Writes a node out in operators that every backend has.
 * @returns a value for each output of the node that is read; undefined for a form of the operator that is not covered
 */
export type WrittenOut = (g: Emit, node: Node) => readonly Typed[] | undefined;

/** Operators by their names, those of other domains as `domain.Operator`. */
export type WrittenOutTable = Readonly<Record<string, WrittenOut>>;

/** The input of a node at `index`, if it has one there. */
export function optionalInput({ inputs }: Node, index: number): Typed | undefined {
  const value = inputs[index];
  return value ? typed(value) : undefined;
}

/** The input of a node at `index`. @throws TypeError where the node lacks one that its operator requires */
export function inputOf(node: Node, index: number): Typed {
  const value = optionalInput(node, index);
  if (!value) throw new TypeError(`${node.op} "${node.label}" lacks its input ${index}`);
  return value;
}

/** The shape of the node's first output. */
export const outputShape = (node: Node): Typed["shape"] => typed(node.outputs[0] as Typed).shape;

/** The attribute `axis` of a node, by default the last one, counted from the first axis. */
export const axisOf = (node: Node, rank: number): number => normalizeAxis(node.int("axis", -1), rank);

/** Makes an operator of one input and one output from a function. */
export const unary =
  (build: (g: Emit, x: Typed, node: Node) => Typed): WrittenOut =>
  (g, node) => [build(g, inputOf(node, 0), node)];
