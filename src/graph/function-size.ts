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

/** Into how many nodes a function expands, and how deep the calls below it are, itself counted. */
interface Size {
  readonly nodes: number;
  readonly depth: number;
}

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

/** The domains of ONNX Runtime's own operators: the standard's, those of traditional models, of training, and Microsoft's. */
const domainsOfOperators =
  /^(|ai\.onnx\.ml|ai\.onnx(\.preview)?\.training|com\.microsoft(\..+)?|com\.ms\.internal\..+)$/;

/**
 * Counts the nodes into which a model's functions would expand, without expanding them.
 * @throws SorthError for a function in a domain whose operators ONNX Runtime has, for too many nodes, and for a function that
 * calls itself directly or through others, which the standard forbids
 */
export function checkFunctionSize(
  functions: readonly FunctionProto[],
  nodes: readonly onnx.NodeProto.$Properties[],
): void {
  if (functions.length === 0) return;
  const taken = functions.find(({ domain }) => domainsOfOperators.test(domainOf(domain)));
  if (taken) {
    // If ONNX Runtime has an operator of that name, it calls that one; the standard leaves open what it should do.
    const domain = domainOf(taken.domain) === "" ? "the domain of the standard operators" : taken.domain;
    throw new SorthError(
      `the model defines a function ${taken.name} in ${domain}, where ONNX Runtime has operators of its own: give it another domain`,
    );
  }
  const known = functionsByKey(functions);
  const sizes = new Map<string, Size | "open">();
  const sizeOfNodes = (list: readonly onnx.NodeProto.$Properties[], above: number): Size => {
    const total = { nodes: 0, depth: 0 };
    for (const node of list) {
      const called = sizeOf(keyOf(node.domain, node.opType ?? "", node.overload), above);
      for (const { nodes, depth } of [
        called,
        ...bodiesOf(node).map((body) => sizeOfNodes(body.node ?? [], above)),
      ]) {
        total.nodes += nodes;
        total.depth = Math.max(total.depth, depth);
      }
    }
    return total;
  };
  const sizeOf = (key: string, above: number): Size => {
    const definition = known.get(key);
    if (!definition) return { nodes: 0, depth: 0 };
    const name = `${definition.domain}.${definition.name}`;
    const counted = sizes.get(key);
    if (counted === "open") throw new SorthError(`the function ${name} calls itself`);
    // A function that was counted before may be deep itself: functions are often defined before those that call them.
    if (above + (counted?.depth ?? 1) > largestDepth) {
      throw new SorthError(
        `the functions of the model call each other more than ${largestDepth} deep (${name})`,
      );
    }
    if (counted) return counted;
    sizes.set(key, "open");
    const list = definition.node ?? [];
    const operators = list.filter((node) => !known.has(keyOf(node.domain, node.opType ?? "", node.overload)));
    const called = sizeOfNodes(list, above + 1);
    const size = { nodes: operators.length + called.nodes, depth: called.depth + 1 };
    sizes.set(key, size);
    return size;
  };
  for (const key of known.keys()) sizeOf(key, 0);
  const size = sizeOfNodes(nodes, 0).nodes;
  if (size > largestSize) {
    throw new SorthError(
      `the functions of the model expand into ${size} nodes, more than ${largestSize}: export it without functions, or in parts`,
    );
  }
}
