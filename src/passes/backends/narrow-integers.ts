import { constantTensor } from "../../analysis/probe-model.ts";
import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { replaceNode } from "../../graph/replace-node.ts";
import { dimAt } from "../../graph/shapes.ts";
import { DataType } from "../../onnx/data-types.ts";
import { changes, definePass } from "../pass.ts";
import { retype } from "./compute-in.ts";
import { movedInputs } from "./moved-inputs.ts";
import { sizeOfConstant, wholeNumberSizes } from "./whole-number-sizes.ts";

/** Key of a graph's metadata: the inputs that were narrowed, each with what its numbers are held to, as JSON. */
export const narrowedKey = "sorth.narrowed";

/**
 * Computes with whole numbers of 32 bits in place of 64, for which WebGPU has next to no kernels. Inputs become int32, and what
 * cannot exceed 32 bits follows them. An operator whose result could, or that takes int64 alone, reads a copy of 64 bits.
 *
 *     y = Mul(Cast(ids: int64, float), w)  →  y = Mul(Cast(ids: int32, float), w)
 */
export const narrowIntegers = definePass({
  name: "narrow-integers",
  options: {},
  run(graph, _options, { emit }) {
    const { sizes, limits } = wholeNumberSizes(graph);
    const narrowing = new Narrowing(graph, emit, sizes);
    const held = Object.fromEntries([...limits].map(([{ name }, limit]) => [name, limit]));
    for (const input of limits.keys()) narrowing.narrow(input);
    const nodes = graph.sorted().filter((node) => narrowing.node(node));
    if (limits.size > 0) graph.metadata.set(narrowedKey, JSON.stringify(held));
    return changes(limits.size + nodes.length, "value", "nothing computes with whole numbers of 64 bits");
  },
});

/** Inputs for indices or labels, of 32 bits or 64. */
const readers: ReadonlyMap<string, number> = new Map([
  ...["Gather", "GatherElements", "ScatterElements"].map((op) => [op, 1] as const),
  ...["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"].map((op) => [op, 1] as const),
  ["OneHot", 0],
]);

class Narrowing {
  readonly #graph: Graph;
  readonly #g: Emit;
  /** By the values of the graph as it was. */
  readonly #sizes: ReadonlyMap<Value, number>;
  /** The value of 32 bits in place of one of 64. */
  readonly #narrowed = new Map<Value, Typed>();

  constructor(graph: Graph, emit: Emit, sizes: ReadonlyMap<Value, number>) {
    this.#graph = graph;
    this.#g = emit;
    this.#sizes = sizes;
  }

  /** Makes a value of 64 bits one of 32; its readers get a copy of 64 bits, which is removed where nothing reads it. */
  narrow(value: Value): void {
    this.#narrowed.set(retype(this.#graph, this.#g, typed(value), "int32"), typed(value));
  }

  /** @returns whether the node computes with 32 bits now */
  node(node: Node): boolean {
    const reader = readers.get(node.op);
    if (reader !== undefined) this.#read(node, reader);
    if (node.op === "Cast") return this.#cast(node);
    if (node.op === "ArgMax" || node.op === "ArgMin") return this.#place(node);
    return this.#compute(node);
  }

  /** An operator that only moves numbers, or whose results fit into 32 bits. */
  #compute(node: Node): boolean {
    const wide = movedInputs(node).filter((index) => node.inputs[index]?.type === "int64");
    if (wide.length === 0 || node.inputs.every((input) => !input || constantTensor(input))) return false;
    const given = wide.map((index) => this.#of(node.inputs[index] as Value));
    const made = node.outputs.filter((output) => output?.type === "int64");
    if (!made.every((output) => output && this.#sizes.has(output))) return false;
    if (!given.every((value) => value !== undefined)) return false;
    for (const [i, index] of wide.entries()) this.#set(node, index, given[i] as Value);
    for (const output of made) if (output) this.narrow(output);
    return true;
  }

  #cast(node: Node): boolean {
    const [[x], [y]] = [node.inputs, node.outputs];
    if (!x || !y) return false;
    const narrow = this.#narrowed.get(x);
    if (narrow && y.type === "int64") {
      this.#narrowed.set(y, narrow);
      return false;
    }
    if (narrow && y.type === "int32") {
      replaceNode(this.#graph, node, [this.#g.identity(narrow)]);
      return true;
    }
    if (narrow) this.#set(node, 0, narrow);
    if (y.type !== "int64" || x.type === "int64" || !this.#sizes.has(y)) return narrow !== undefined;
    if (x.type === "int32") {
      this.#narrowed.set(y, typed(x));
      return false;
    }
    node.attributes.set("to", int(DataType.int32));
    this.narrow(y);
    return true;
  }

  /** The place of the largest number, which is of 64 bits: looked up in the places of 32 bits. */
  #place(node: Node): boolean {
    const [[x], [y]] = [node.inputs, node.outputs];
    if (!x?.shape || !y || !this.#sizes.has(y)) return false;
    this.#read(node, 0);
    if (![...y.uses].some((use) => use.node.op === "Cast" || movedInputs(use.node).includes(use.index)))
      return false;
    this.#narrowed.set(y, this.#g.gather(this.#g.iota(dimAt(x.shape, node.int("axis", 0))), y));
    return true;
  }

  #read(node: Node, index: number): void {
    const value = node.inputs[index];
    const narrow = value && this.#narrowed.get(value);
    if (narrow) this.#set(node, index, narrow);
  }

  #set(node: Node, index: number, value: Value): void {
    this.#graph.setInput({ node, index }, value);
  }

  /** The value of 32 bits in place of one of 64; undefined where there is none. */
  #of(value: Value): Typed | undefined {
    const known = this.#narrowed.get(value);
    if (known || sizeOfConstant(value) === undefined) return known;
    const constant = constantTensor(value);
    return constant && this.#g.constant("int32", constant.dims, Int32Array.from(constant.numbers()));
  }
}
