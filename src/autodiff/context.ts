import { typedOrHidden } from "../analysis/obstacle.ts";
import { constantTensor } from "../analysis/probe-model.ts";
import { SorthError } from "../errors.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Node, Value } from "../graph/node.ts";
import type { RuleContext } from "./rule.ts";

/** The context that the walk passes to a rule. `total` returns the sum of the gradients that a value's readers contributed. */
export function ruleContext(
  node: Node,
  total: (output: Value) => Typed | undefined,
  walk: Pick<RuleContext, "wants" | "rules">,
): RuleContext {
  const at = (kind: "input" | "output", index: number): Typed => {
    const value = (kind === "input" ? node.inputs : node.outputs)[index];
    if (!value) throw new SorthError(`${kind} ${index} of ${node.op} node "${node.label}" is absent`);
    return typedOrHidden(value);
  };
  const known = (value: Value | null) => value && typedOrHidden(value);
  return {
    node,
    ...walk,
    get inputs() {
      return node.inputs.map(known);
    },
    get outputs() {
      return node.outputs.map(known);
    },
    input: (index) => at("input", index),
    output: (index) => at("output", index),
    gradient: (index) => {
      const output = node.outputs[index];
      return output ? total(output) : undefined;
    },
    constant: (index) => {
      const value = node.inputs[index];
      if (!value) return undefined;
      // An injected block stores its constants as Constant nodes.
      const constant = constantTensor(value);
      if (constant) return constant.numbers();
      throw new SorthError(
        `input ${index} ("${value.name}") of ${node.op} node "${node.label}" is computed from data; ` +
          "its derivative needs it to be constant: fix the model's free dimensions (--dim NAME=N, --batch N)",
      );
    },
  };
}
