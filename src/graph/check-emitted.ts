import { UsageError } from "../errors.ts";
import { whatIs } from "../what-is.ts";
import { Value } from "./node.ts";

/**
 * @param maker - the function of the user's own that emits operators
 * @throws UsageError for what is no value of the graph, such as a number that JavaScript computed
 */
export function checkEmitted(maker: string, given: unknown): void {
  if (given instanceof Value) return;
  throw new UsageError(`${maker} returns a value of the graph, as g.reduceMean(x), not ${whatIs(given)}`);
}
