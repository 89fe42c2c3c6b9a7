import { rules } from "../../src/autodiff/table.ts";
import { gradientOperators } from "./rule-case.ts";

/** Of which operators the gradients of each rule's samples are made, by the rule's operator. */
export async function gradientOperatorsOfAll(): Promise<Map<string, ReadonlySet<string>>> {
  const result = new Map<string, ReadonlySet<string>>();
  for (const [op, entry] of Object.entries(rules)) {
    if (!("vjp" in entry)) continue;
    const operators = new Set<string>();
    for (const sample of entry.samples) {
      for (const name of await gradientOperators(op, sample)) operators.add(name);
    }
    result.set(op, operators);
  }
  return result;
}
