import { SorthError } from "../errors.ts";
import type { onnx } from "../onnx/schema.js";
import { bodiesOf } from "./bodies.ts";

/** A model's function as a message. */
export type FunctionProto = onnx.FunctionProto.$Properties;
/** The functions of a model by {@link keyOf}. */
export type Functions = ReadonlyMap<string, FunctionProto>;

/**
 * Largest number of nodes into which the functions of a model may expand. ONNX Runtime expands them before anything else:
 * 8,000 nodes take it 4 s, 32,000 more than a minute.
 */
const largestSize = 20_000;
/** Largest depth of calls between functions. */
const largestDepth = 500;

/** A normalized domain: the standard domain has two names, `ai.onnx` and the empty string. */
export const domainOf = (domain: string | null | undefined): string =>
  domain === "ai.onnx" ? "" : (domain ?? "");

/** The key by which nodes call a function: domain, name and overload. */
export const keyOf = (
  domain: string | null | undefined,
  name: string,
  overload: string | null | undefined,
): string => JSON.stringify([domainOf(domain), name, overload ?? ""]);

/** The functions of a model by {@link keyOf}. */
export const functionsByKey = (functions: readonly FunctionProto[]): Functions =>
  new Map(functions.map((f) => [keyOf(f.domain, f.name ?? "", f.overload), f]));

/**
 * Counts the nodes into which a model's functions would expand, without expanding them.
 * @throws SorthError when there are too many, or when a function calls itself directly or through others, which the
 * standard forbids
 */
export function checkFunctionSize(
  functions: readonly FunctionProto[],
  nodes: readonly onnx.NodeProto.$Properties[],
): void {
  if (functions.length === 0) return;
  const known = functionsByKey(functions);
  const sizes = new Map<string, number | "open">();
  const sizeOfNodes = (list: readonly onnx.NodeProto.$Properties[], depth: number): number =>
    list.reduce((sum, node) => {
      const bodies = bodiesOf(node).reduce((inner, body) => inner + sizeOfNodes(body.node ?? [], depth), 0);
      return sum + sizeOf(keyOf(node.domain, node.opType ?? "", node.overload), depth) + bodies;
    }, 0);
  const sizeOf = (key: string, depth: number): number => {
    const definition = known.get(key);
    if (!definition) return 0;
    const name = `${definition.domain}.${definition.name}`;
    const counted = sizes.get(key);
    if (counted === "open") throw new SorthError(`the function ${name} calls itself`);
    if (counted !== undefined) return counted;
    if (depth > largestDepth) {
      throw new SorthError(
        `the functions of the model call each other more than ${largestDepth} deep (${name})`,
      );
    }
    sizes.set(key, "open");
    const list = definition.node ?? [];
    const operators = list.filter((node) => !known.has(keyOf(node.domain, node.opType ?? "", node.overload)));
    const size = operators.length + sizeOfNodes(list, depth + 1);
    sizes.set(key, size);
    return size;
  };
  for (const key of known.keys()) sizeOf(key, 0);
  const size = sizeOfNodes(nodes, 0);
  if (size > largestSize) {
    throw new SorthError(
      `the functions of the model expand into ${size} nodes, more than ${largestSize}: export it without functions, or in parts`,
    );
  }
}
