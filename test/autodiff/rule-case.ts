import type { Sample, SampleInput } from "../../src/autodiff/rule.ts";
import { rules } from "../../src/autodiff/table.ts";
import { backward } from "../../src/autodiff/walk.ts";
import { type Attribute, int } from "../../src/graph/attribute.ts";
import { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import type { Shape } from "../../src/graph/shapes.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { DataType, type DataTypeName } from "../../src/onnx/data-types.ts";
import { elementCount, Tensor, type TensorData } from "../../src/onnx/tensor.ts";
import { runOpened } from "../helpers/opened-models.ts";

/** One sample of one rule, as models: the node alone, and the node with the gradients of a random projection. */
export interface RuleCase {
  readonly op: string;
  readonly sample: Sample;
  readonly type: "float" | "double";
}

export const titleOf = (op: string, sample: Sample): string => {
  const shapes = sample.inputs.map((input) =>
    input === null ? "–" : Array.isArray(input) ? `[${input}]` : `[${(input as { shape: Shape }).shape}]`,
  );
  const attributes = Object.entries(sample.attributes ?? {}).map(([name, a]) =>
    a.kind === "graph" ? name : `${name}=${JSON.stringify(a.value)}`,
  );
  return [op, shapes.join(" "), ...attributes, sample.note ?? ""].filter(Boolean).join(" ");
};

/** A small generator of numbers in [0, 1): Mulberry32. */
export function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const isShape = (input: SampleInput): input is Shape => Array.isArray(input);

export const arrayOf = (type: DataTypeName, values: ArrayLike<number>): TensorData => {
  if (type === "double") return Float64Array.from(values);
  if (type === "int64") return BigInt64Array.from(Array.from(values), BigInt);
  if (type === "int32") return Int32Array.from(values);
  if (type === "bool" || type === "uint8") return Uint8Array.from(values);
  if (type === "int8") return Int8Array.from(values);
  return Float32Array.from(values);
};

/**
 * Values for a random input: uniform, or distinct and shuffled with gaps of at least 0.1. Distinct values of the node's
 * inputs number 0, 1, 2 are shifted against each other by 1/40.
 */
function draw(
  count: number,
  range: readonly [number, number],
  distinct: number | undefined,
  next: () => number,
): number[] {
  const [low, high] = range;
  if (distinct === undefined) return Array.from({ length: count }, () => low + (high - low) * next());
  const gap = Math.max((high - low) / Math.max(count, 1), 0.1);
  const values = Array.from({ length: count }, (_, i) => low + gap * i + (distinct + 1) / 40);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(next() * (i + 1));
    [values[i], values[j]] = [values[j] as number, values[i] as number];
  }
  return values;
}

/** A file holds numbers of attributes in float32. */
const asInFile = (attribute: Attribute): Attribute => {
  if (attribute.kind === "float") return { ...attribute, value: Math.fround(attribute.value) };
  return attribute.kind === "floats" ? { ...attribute, value: attribute.value.map(Math.fround) } : attribute;
};

export interface Built {
  graph: Graph;
  wrt: Value[];
  feeds: Map<string, Tensor>;
}

/** The node alone; its random inputs are graph inputs. */
export function buildNode({ op, sample, type }: RuleCase, next: () => number): Built {
  const dot = op.lastIndexOf(".");
  const [domain, opType] = dot < 0 ? ["", op] : [op.slice(0, dot), op.slice(dot + 1)];
  const opsets = new Map([["", sample.opset ?? 18]]);
  if (domain) opsets.set(domain, 1);
  const graph = new Graph("case", opsets);
  const feeds = new Map<string, Tensor>();
  const wrt: Value[] = [];
  const inputs = sample.inputs.map((input, index) => {
    if (input === null) return null;
    const name = `x${index}`;
    if (!isShape(input) && "constant" in input) {
      const own = input.type ?? "int64";
      const element = own === "float" ? type : own;
      return graph.addInitializer(Tensor.of(name, element, input.shape, arrayOf(element, input.constant)));
    }
    const shape = isShape(input) ? input : input.shape;
    const range = (!isShape(input) && input.range) || sample.range || [-1, 1];
    const values = draw(
      elementCount(shape),
      range,
      !isShape(input) && input.distinct ? index : undefined,
      next,
    );
    feeds.set(name, Tensor.of(name, type, shape, arrayOf(type, values)));
    const value = graph.addInput(name, type, shape);
    wrt.push(value);
    return value;
  });
  const attributes = Object.fromEntries(
    Object.entries(sample.attributes ?? {}).map(([key, attribute]) => [key, asInFile(attribute)]),
  );
  if (op === "Cast") attributes.to = int(DataType[type]);
  const read = inputs.length - (sample.captured ?? 0);
  const node = graph.addNode({
    opType,
    domain,
    name: "node",
    attributes: new Map(Object.entries(attributes)),
    inputs: inputs.slice(0, read),
    captures: inputs.slice(read).filter((value) => value !== null),
    outputs: Array.from({ length: sample.outputs ?? 1 }, (_, i) => `y${i}`),
  });
  for (const output of node.outputs) if (output) graph.addOutput(output);
  return { graph, wrt, feeds };
}

export const bytesOf = (graph: Graph) => encodeModelProto(graphToProto(graph, { irVersion: 9 }));
export const numbersOf = (tensor: Tensor | undefined) => (tensor?.data ?? []) as ArrayLike<number>;
export const products = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a, (x, i) => x * (b[i] ?? 0));
export const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
export const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => sum(products(a, b));
export const norm = (values: ArrayLike<number>) => Math.sqrt(dot(values, values));

/** Numbers in [−1, 1), as many as the value has. */
export const randomLike = (value: Value, next: () => number): number[] =>
  Array.from({ length: elementCount(value.shape ?? []) }, () => 2 * next() - 1);

/** The feeds, some of them moved by `step` along a direction for each. */
export const movedFeeds = (
  wrt: readonly Value[],
  feeds: ReadonlyMap<string, Tensor>,
  directions: readonly (readonly number[])[],
  step: number,
): Map<string, Tensor> =>
  new Map([
    ...feeds,
    ...wrt.map((value, i) => {
      const base = feeds.get(value.name) as Tensor;
      const values = Array.from(numbersOf(base), (x, j) => x + step * (directions[i]?.[j] as number));
      return [value.name, Tensor.of(value.name, base.type, base.dims, arrayOf(base.type, values))] as const;
    }),
  ]);

/** The node of a case with the gradient of f = Σ v·y, where v is a random projection of every float output. */
export async function gradientCase(testCase: RuleCase, next: () => number) {
  const { graph, wrt, feeds } = buildNode(testCase, next);
  const forward = bytesOf(graph);
  const y = await runOpened(forward, feeds);
  const projections = new Map<Value, Tensor>();
  for (const output of graph.outputs) {
    const tensor = y.get(output.name) as Tensor;
    output.type = tensor.type;
    output.shape = tensor.dims;
    if (tensor.type !== testCase.type) continue;
    const values = Array.from({ length: tensor.size }, () => 2 * next() - 1);
    projections.set(output, Tensor.of("", tensor.type, tensor.dims, arrayOf(tensor.type, values)));
  }
  const emit = new Emit(graph, { prefix: "d/" });
  const seeds = [...projections].map(([value, v]) => ({
    value,
    gradient: () => emit.constant(v.type, v.dims, v.data) as Typed,
  }));
  const gradients = backward(graph, { wrt, seeds, rules, emit });
  for (const output of [...graph.outputs]) graph.outputs.splice(graph.outputs.indexOf(output), 1);
  // What the builder believes of shapes and types must be what ONNX Runtime finds.
  const results = wrt.map((value) => {
    const gradient = gradients.get(value);
    return gradient && graph.addOutput(emit.identity(gradient));
  });
  return { graph, wrt, feeds, forward, projections, results };
}

/** The operators of which the gradient of a sample is made, the node itself left out. */
export async function gradientOperators(op: string, sample: Sample): Promise<Set<string>> {
  const { graph } = await gradientCase({ op, sample, type: "float" }, random(1));
  graph.prune();
  return new Set(graph.nodes.filter(({ name }) => name !== "node").map((node) => node.op));
}

/** The gradient of a case, computed. */
export async function computedGradient(testCase: RuleCase, next: () => number) {
  const built = await gradientCase(testCase, next);
  const { graph, wrt, feeds, results } = built;
  const computed = results.some(Boolean) ? await runOpened(bytesOf(graph), feeds) : new Map<string, Tensor>();
  const gradients = new Map(wrt.map((input, i) => [input, computed.get(results[i]?.name ?? "")] as const));
  return { ...built, gradients };
}

const noKernel =
  /NOT_IMPLEMENTED|Could not find an implementation|Failed to find kernel|not a registered|INVALID_GRAPH|Type Error/i;

/** What a check of the sample in double gives; nothing where ONNX Runtime has no kernels in double for all of it. */
export async function inDouble<T>(
  sample: Sample,
  check: () => Promise<T>,
): Promise<{ result: T } | undefined> {
  if (sample.floatOnly) return undefined;
  try {
    return { result: await check() };
  } catch (error) {
    if (noKernel.test(String(error))) return undefined;
    throw error;
  }
}
