import type { Node, Value } from "../../graph/node.ts";

/** The node that alone reads a value, if it is one of `opType`. */
export function onlyReader(value: Value | null | undefined, opType: string): Node | undefined {
  const [use, ...others] = value?.uses ?? [];
  return use && others.length === 0 && use.node.op === opType ? use.node : undefined;
}

/** The other operand of a node with two operands, one of which is `value`. */
export const operandBeside = ({ inputs: [a, b] }: Node, value: Value | null | undefined): Value | undefined =>
  (a === value ? b : a) ?? undefined;

/** The number in a constant of one element. */
export const numberOf = (value: Value | undefined): number | undefined =>
  value?.initializer?.size === 1 ? value.initializer.numbers()[0] : undefined;
