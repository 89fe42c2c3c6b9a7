import { bodyOf, graphOfBody } from "../graph/body-graph.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Use, Value } from "../graph/node.ts";
import { elementCount } from "../onnx/tensor.ts";
import { drawingOperators } from "./drawing-operators.ts";
import { isFilled } from "./number-signs.ts";
import { formal, normalizations, passing, plain, products, type Role, roleByOperator } from "./roles.ts";

/** One place where an initializer is read. */
export interface Reading {
  /** Where it enters the chain of operators that only pass it on; a copy of the initializer would be inserted here. */
  readonly use: Use;
  /** The operator at the end of that chain: the first one that also reads data or that gives its operand a role. */
  readonly node: Node;
  readonly index: number;
  readonly role: Role;
  /** Whether operators on constants in between compute something else from it, such as a weight from its parts. */
  readonly computed: boolean;
}

/** A value, and one place where it is read. */
interface Read extends Use {
  readonly value: Value;
}

interface End extends Read {
  readonly computed: boolean;
  /** The role that an operator along the chain gave it. */
  readonly role?: Role;
  /** Where the bodies of the node at the end read it. */
  readonly inside?: readonly Reading[];
}

/** Operators that compute the divisor of a normalization written in single operators. */
const norms = new Set(["Sqrt", "Reciprocal", "ReduceL2", "LpNormalization", "MeanVarianceNormalization"]);

/** Operators that may lie between a layer or a normalization and its scale and shift. */
const linear = new Set(["Add", "Sub", "Mul", "Div"]);

/** How many operators back a normalization written in single operators is searched for. */
const nearby = 6;

/**
 * Where the initializers of a graph are read, and in which role. Operators that only pass a value on, or that compute only
 * with constants, are skipped: the parts of a weight count as read by the layer. Bodies of If, Loop and Scan are searched
 * too, including values that a Loop carries from trip to trip unchanged.
 *
 * @example
 * const readings = new Readings(graph);
 * readings.of(graph.valueNamed("fc.weight")).map(({ node, role }) => `${role} of ${node.op}`); // ["weight of Gemm"]
 */
export class Readings {
  readonly #graph: Graph;
  readonly #data = new Set<Value>();
  readonly #known = new Map<Value, readonly Reading[]>();

  /** @param constants - inputs of a body whose values outside the body are constants */
  constructor(graph: Graph, constants: ReadonlySet<Value> = new Set()) {
    this.#graph = graph;
    const open = graph.inputs.filter((input) => !input.initializer && !constants.has(input));
    for (const node of graph.nodes) {
      if (drawingOperators.has(node.opType)) open.push(...node.outputs.flatMap((output) => output ?? []));
    }
    for (let value = open.pop(); value; value = open.pop()) {
      if (this.#data.has(value)) continue;
      this.#data.add(value);
      // The shape of data has constant numbers, but they are known only when the model runs: it counts as data.
      for (const { node } of value.uses) open.push(...node.outputs.flatMap((output) => output ?? []));
    }
  }

  /** Whether the graph has an initializer of that name. */
  has(name: string): boolean {
    return this.#graph.value(name)?.initializer !== undefined;
  }

  /** Whether a value depends on no input of the graph. */
  isConstant(value: Value): boolean {
    return !this.#data.has(value);
  }

  /** Whether the scales of all normalizations hold one number each, as before a training; false if there are none. */
  untrained(): boolean {
    const scales = this.#graph.initializers.flatMap((value) =>
      value.initializer && this.of(value).some(({ role }) => role === "scale") ? [value.initializer] : [],
    );
    return scales.length > 0 && scales.every(isFilled);
  }

  /** Where a value is read. An operator that reads only its shape does not count. */
  of(value: Value): readonly Reading[] {
    const known = this.#known.get(value) ?? this.#find(value, value.initializer?.dims ?? value.shape ?? []);
    this.#known.set(value, known);
    return known;
  }

  #find(value: Value, dims: readonly number[]): Reading[] {
    return [...value.uses].flatMap((use) =>
      this.#ends({ ...use, value }, dims, false, new Set()).flatMap((end): Reading[] => {
        const { node, index, computed, inside = [] } = end;
        if (inside.length === 0)
          return [{ use, node, index, computed, role: end.role ?? this.#roleOf(end, dims) }];
        return inside.map((reading) => ({ ...reading, ...{ use, computed: computed || reading.computed } }));
      }),
    );
  }

  /** Where the bodies of a node read a value that they capture, or that a Loop carries unchanged. */
  #inBodies({ node, index, value }: Read, dims: readonly number[]): Reading[] {
    const carried = index >= 0 && (node.op === "Loop" || node.op === "Scan");
    if (index >= 0 && !carried) return [];
    return [...node.attributes].flatMap(([attribute, { kind }]) => {
      if (kind !== "graph") return [];
      const body = graphOfBody(node, attribute);
      const inner = carried ? carriedValue(node, body, index) : body.value(value.name);
      if (!inner) return [];
      return new Readings(body, new Set([inner])).#find(inner, dims);
    });
  }

  /** The operators at which a chain ends. A chain without forks is followed in a loop, because it may be of any length. */
  #ends(start: Read, dims: readonly number[], before: boolean, seen: Set<Node>): End[] {
    let [use, computed] = [start, before];
    for (;;) {
      const next = this.#step(use, dims, computed, seen);
      if (Array.isArray(next)) return next;
      computed ||= !passing.has(use.node.op) || use.index !== 0;
      use = next;
    }
  }

  /** The next operator in a chain if there is exactly one, else the ends of the chain. */
  #step(read: Read, dims: readonly number[], computed: boolean, seen: Set<Node>): Read | End[] {
    const { node, index } = read;
    const end = { ...read, computed };
    const inside = this.#inBodies(read, dims);
    if (index < 0 || inside.length > 0) return [{ ...end, inside }];
    if (formal.has(node.op)) return [];
    const passes = passing.has(node.op) && index === 0;
    const [first] = node.outputs;
    const alone = first !== null && first !== undefined && this.isConstant(first);
    if (!passes && !alone) return [end];
    if (!passes && alone) {
      // The vectors with which spectral_norm estimates a norm.
      if (node.op === "MatMul" && dims.length === 1 && !computed) {
        return [{ ...end, role: "running vector" }];
      }
      // A layer that is called on data and on parameters (positions of DeBERTa) has one bias.
      if (!computed && node.op === "Add" && this.#isBias(node, index, dims))
        return [{ ...end, role: "bias" }];
      const role = roleByOperator(node.op, index);
      // The statistics with which a weight is normalized are not running statistics of data.
      const statistic = computed && role?.startsWith("running");
      if (role && role !== "other" && index > 0 && !statistic) return [{ ...end, role }];
    }
    if (seen.has(node)) return [];
    seen.add(node);
    const role = roleByOperator(node.op, index);
    const table: { role?: Role } = role === "embedding" ? { role } : {};
    const outputs = passes ? node.outputs.slice(0, 1) : node.outputs;
    const readers = outputs.flatMap((value) =>
      value ? [...value.uses].map((use) => ({ ...use, value })) : [],
    );
    const [only, another] = readers;
    if (only && !another && !table.role && !isShown(node)) return only;
    const ends = readers.flatMap((use) => this.#ends(use, dims, computed || !passes, seen));
    // Only an output of the graph follows.
    if (ends.length === 0 && !passes && isShown(node)) return [end];
    return ends.map((end) => ({ ...end, ...table }));
  }

  #roleOf({ node, index, computed }: End, dims: readonly number[]): Role {
    const role = roleByOperator(node.op, index);
    if (role) return role;
    if (index < 0 || !plain.has(node.op)) return "other";
    if (!computed && node.op === "Add" && this.#isBias(node, index, dims)) return "bias";
    if (vector(dims) && elementCount(dims) > 1 && this.#follows(node, index))
      return node.op === "Mul" ? "scale" : "bias";
    return "operand";
  }

  /** Whether an Add's operand has one number for each unit of the product (with a parameter) to which it is added. */
  #isBias(add: Node, index: number, dims: readonly number[]): boolean {
    const product = productBefore(add.inputs[1 - index]);
    const weight = product?.inputs.find((operand) => operand && this.isConstant(operand));
    if (!weight) return false;
    const sizes = sourceOf(weight)?.initializer?.dims ?? [];
    const count = elementCount(dims);
    // A single number is the bias of one unit; an operand with more than one axis is the bias of units on several axes.
    if (count === 1 || !vector(dims)) return sizes.length > 0 && sizes.includes(count);
    return true;
  }

  /** Whether an operand scales or shifts the output of a layer or of a normalization, written as one operator or several. */
  #follows({ op, inputs }: Node, index: number): boolean {
    if (op !== "Mul" && op !== "Add" && op !== "Sub") return false;
    let level = [inputs[1 - index]];
    for (let depth = 0; depth < nearby && level.length > 0; depth++) {
      const next: (Value | null | undefined)[] = [];
      for (const value of level) {
        const node = value?.producer;
        if (!node) continue;
        if (normalizations.has(node.op) || norms.has(node.op)) return true;
        if (products.has(node.op)) {
          if (node.inputs.some((operand) => operand && this.isConstant(operand))) return true;
        } else if (passing.has(node.op)) next.push(node.inputs[0]);
        else if (linear.has(node.op)) next.push(...node.inputs);
      }
      level = next;
    }
    return false;
  }
}

/** Whether at most one axis is longer than 1. */
const vector = (dims: readonly number[]): boolean => dims.filter((dim) => dim !== 1).length <= 1;

const isShown = ({ outputs }: Node): boolean => outputs.some((output) => output && output.uses.size === 0);

/** An input of a body that holds the same value at every trip. */
function carriedValue(node: Node, body: Graph, index: number): Value | undefined {
  // The body's graph lists captured values before its own inputs.
  const inner = body.value(bodyOf(node, "body").input?.[index]?.name ?? "");
  // A Loop's body takes trip and condition first and returns the condition first; a Scan's takes and returns only states.
  let result: Value | null | undefined = body.outputs[node.op === "Loop" ? index - 1 : index];
  if (node.op === "Scan" && index >= node.inputs.length - node.int("num_scan_inputs", 0)) return undefined;
  while (result?.producer?.op === "Identity") [result] = result.producer.inputs;
  return inner && result === inner ? inner : undefined;
}

/** The product whose result a value is, possibly in another layout. */
export function productBefore(value: Value | null | undefined): Node | undefined {
  let node = value?.producer;
  while (node && passing.has(node.op)) node = node.inputs[0]?.producer;
  return node && products.has(node.op) ? node : undefined;
}

/** The value at the start of a chain of operators that only pass it on. */
function sourceOf(operand: Value | null | undefined): Value | undefined {
  let value = operand ?? undefined;
  while (value?.producer && passing.has(value.producer.op)) value = value.producer.inputs[0] ?? undefined;
  return value;
}

/** The weight of the layer that a bias belongs to: the reader itself, or the product to which an Add adds the bias. */
export function weightBeside(reader: Node, index: number): Value | undefined {
  const product = reader.op === "Add" ? productBefore(reader.inputs[1 - index]) : reader;
  const inputs = product?.inputs ?? [];
  return [inputs[1], ...inputs].map(sourceOf).find((value) => value?.initializer);
}
