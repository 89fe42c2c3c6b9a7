import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { byteLengthOf } from "../onnx/tensor.ts";
import { bytesOf } from "../passes/training/late.ts";
import { type StepPorts, statePorts } from "./step-ports.ts";

/** Bytes that a training step needs, by what they hold. */
export interface StepMemory {
  /** The most that values between the operators take at one time: activations, gradients, parts of the update. */
  readonly activations: number;
  /** Parameters, optimizer state and running statistics, once. */
  readonly state: number;
  /** Weights that are not trained, and other constants. */
  readonly frozen: number;
  /** What is fed at every step: data, labels, masks, random numbers. */
  readonly data: number;
}

/** Operators whose result is the memory of their first input with other dimensions. */
const views = new Set(["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"]);
/** Operators that ONNX Runtime lets write over an input of the same shape that nothing else reads. */
const inPlace = new Set([
  ...["Add", "Sub", "Mul", "Div", "Pow", "Sum", "Max", "Min", "Neg", "Abs", "Exp", "Log", "Sqrt", "Erf"],
  ...["Relu", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "HardSigmoid", "Clip", "Softplus", "Reciprocal"],
  ...["Floor", "Softmax", "Cast", "ScatterND", "ScatterElements"],
]);

/** How much memory a step's graph needs, in the order and with the reuse of memory of ONNX Runtime. */
export function stepMemory(graph: Graph, ports: StepPorts): StepMemory {
  const state = sum(statePorts(ports).map(({ type, shape }) => byteLengthOf(type, shape)));
  return {
    ...{ activations: mostAtOnce(pieces(graph)), state },
    frozen: sum(graph.initializers.map(bytesOf)),
    data: Math.max(0, sum(graph.inputs.map(bytesOf)) - state),
  };
}

const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);

/** A piece of memory that serves one value after another. */
interface Piece {
  readonly bytes: number;
  /** Places in the order of nodes, from the first writer to the last reader. */
  readonly from: number;
  until: number;
  /** Number of readers, still to come, of the value in it. */
  readers: number;
}

/** The most bytes that pieces of memory take at one time. */
function mostAtOnce(all: readonly Piece[]): number {
  const changes = all
    .flatMap(({ bytes, from, until }) => [
      { at: from, bytes },
      { at: until + 0.5, bytes: -bytes },
    ])
    .sort((a, b) => a.at - b.at);
  let [now, most] = [0, 0];
  for (const { bytes } of changes) {
    now += bytes;
    most = Math.max(most, now);
  }
  return most;
}

/**
 * The memory of the values of a graph as ONNX Runtime plans it: a node writes over an input that nothing reads afterwards, or into
 * the piece of a former value of the same shape, which is kept for it until then. Outputs of the graph have memory of their own.
 */
function pieces(graph: Graph): Piece[] {
  const outputs = new Set(graph.outputs);
  const held = new Map<Value, Piece>();
  const free = new Map<string, Piece[]>();
  const all: Piece[] = [];
  const form = (value: Value) => `${value.type} ${value.shape?.join()}`;
  const fresh = (value: Value, place: number): Piece => {
    const piece = { bytes: bytesOf(value), from: place, until: place, readers: 0 };
    all.push(piece);
    return piece;
  };
  const release = (value: Value, readers: number) => {
    const piece = held.get(value);
    if (!piece) return;
    piece.readers -= readers;
    if (piece.readers === 0) free.set(form(value), [...(free.get(form(value)) ?? []), piece]);
  };
  for (const [place, node] of executionOrder(graph.nodes).entries()) {
    const read = [...node.inputs, ...node.captures].flatMap((value) => value ?? []);
    for (const value of node.outputs) {
      if (!value || outputs.has(value)) continue;
      const [first] = read;
      if (first && views.has(node.opType)) {
        const piece = held.get(first);
        if (piece) {
          piece.readers += value.uses.size;
          held.set(value, piece);
        }
        continue;
      }
      const over = inPlace.has(node.opType)
        ? read.find((one) => held.get(one)?.readers === 1 && form(one) === form(value))
        : undefined;
      const piece = (over && held.get(over)) ?? free.get(form(value))?.pop() ?? fresh(value, place);
      piece.readers += value.uses.size;
      held.set(value, piece);
    }
    for (const value of [...read, ...node.outputs]) {
      const piece = value && held.get(value);
      if (piece) piece.until = place;
    }
    for (const value of read) release(value, 1);
    for (const value of node.outputs) if (value?.uses.size === 0) release(value, 0);
  }
  return all;
}

/** The order in which ONNX Runtime executes nodes: depth first from the results that no node reads, the last node first. */
function executionOrder(nodes: readonly Node[]): Node[] {
  const places = new Map(nodes.map((node, place) => [node, place]));
  const placeOf = (node: Node) => places.get(node) ?? 0;
  const producers = (node: Node): Node[] =>
    [...new Set([...node.inputs, ...node.captures].flatMap((value) => value?.producer ?? []))].sort(
      (a, b) => placeOf(a) - placeOf(b),
    );
  const isRead = (node: Node) => node.outputs.some((value) => value && value.uses.size > 0);
  const stack = nodes.filter((node) => !isRead(node)).map((node) => ({ node, isLeft: false }));
  const seen = new Set<Node>();
  const order: Node[] = [];
  for (let top = stack.pop(); top; top = stack.pop()) {
    const { node, isLeft } = top;
    if (isLeft) order.push(node);
    if (isLeft || seen.has(node)) continue;
    seen.add(node);
    stack.push({ node, isLeft: true });
    for (const producer of producers(node)) {
      if (!seen.has(producer)) stack.push({ node: producer, isLeft: false });
    }
  }
  return order;
}
