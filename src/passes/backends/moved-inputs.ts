import type { Node } from "../../graph/node.ts";

const first = [0];

/** Operators that copy, choose, compare or add up numbers of any type, each with the inputs that hold them; "all": every one. */
const inputs: ReadonlyMap<string, readonly number[] | "all"> = new Map<string, readonly number[] | "all">([
  ...["Identity", "Reshape", "Transpose", "Unsqueeze", "Squeeze", "Flatten", "Expand", "Tile", "Slice"].map(
    (op) => [op, first] as const,
  ),
  ...["Split", "Gather", "GatherND", "GatherElements", "ReduceMax", "ReduceMin", "ReduceSum", "CumSum"].map(
    (op) => [op, first] as const,
  ),
  ...["Neg", "Abs", "Sign"].map((op) => [op, first] as const),
  ...["Concat", "Max", "Min", "Clip", "Add", "Sub", "Mul", "Div", "Mod"].map((op) => [op, "all"] as const),
  ...["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"].map((op) => [op, "all"] as const),
  ...[["Where", [1, 2]] as const, ["Pad", [0, 2]] as const],
  ...["ScatterND", "ScatterElements"].map((op) => [op, [0, 2]] as const),
]);

/**
 * The inputs whose type an operator leaves open, and gives to its outputs or compares; none for other operators.
 *
 * @example
 * movedInputs(node); // Where: [1, 2]
 */
export function movedInputs({ op, inputs: given }: Node): number[] {
  const found = inputs.get(op) ?? [];
  return (found === "all" ? [...given.keys()] : [...found]).filter((index) => given[index]);
}
