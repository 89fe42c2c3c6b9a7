import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { type DataTypeName, dataTypeName } from "../onnx/data-types.ts";
import { mayHaveCache } from "./cache-names.ts";
import {
  type DimensionOptions,
  defaultBatch,
  doubled,
  freeDimensions,
  hasFreeBatch,
  resolveInputs,
} from "./dimensions.ts";
import type { Probe } from "./probe.ts";
import { constantOf, isDescribed, probeOutputs } from "./probe-model.ts";
import type { TypeAndShape } from "./run-node.ts";

/** The sizes with which a graph's shapes were inferred. */
interface InferredShapes {
  /** The batch size used in the shapes; undefined if the model fixes every dimension. */
  readonly batch: number | undefined;
  /** Values whose type, or one of whose dimensions, ONNX Runtime knows only after running. */
  readonly unknown: readonly Value[];
  /** Other sizes of the free dimensions, with which shapes were inferred again. */
  readonly others: readonly DimensionOptions[];
}

/**
 * Fills in type and shape of every value of a graph by asking ONNX Runtime (DESIGN §5.1), and `freeAxes` by asking again with
 * every free dimension twice as long. If the first dimension of an input is free, it is the batch; without `options.batch` it
 * is probed as 12. Values inside bodies of If, Loop and Scan get no shapes.
 * @throws SorthError for a dimension that is neither fixed nor given, and with ONNX Runtime's message when it refuses the model.
 *
 * @example
 * await inferShapes(graph, nodeProbe, { batch: 64 });
 * graph.valueNamed("logits").shape; // [64, 10]
 */
export async function inferShapes(
  graph: Graph,
  probe: Probe,
  given: DimensionOptions = {},
): Promise<InferredShapes> {
  (await import("./check-fills.ts")).checkFills(graph);
  // Decoders read former tokens, of which there are none.
  const options = mayHaveCache(graph)
    ? (await import("./cache-inputs.ts")).withEmptyCache(graph, given)
    : given;
  const inputs = resolveInputs(graph, options);
  for (const [input, shape] of inputs) input.shape = shape;
  const answers = await ask(graph, probe, inputs);
  for (const [value, { type, shape }] of answers) {
    value.type = type;
    value.shape = shape;
  }
  const batch = hasFreeBatch(graph, options) ? (options.batch ?? defaultBatch) : undefined;
  const { batch: _, ...sizes } = options;
  const others = await markFreeAxes(graph, probe, { ...sizes, ...(batch !== undefined && { batch }) });
  return { batch, others, unknown: [...graph.values].filter((value) => !value.type || !value.shape) };
}

/**
 * Sets `freeAxes` of every value from shapes with all free dimensions twice as long or, if the model does not load with these
 * sizes, with one after the other. If a dimension's length cannot be changed, no axis is certain.
 * @param options - include the batch with which the shapes were inferred, if it is free
 * @returns the sizes with which the model loaded
 */
async function markFreeAxes(
  graph: Graph,
  probe: Probe,
  options: DimensionOptions,
): Promise<DimensionOptions[]> {
  const attempt = async (names: readonly string[]) => {
    const sizes = doubled(options, names);
    try {
      const inputs = resolveInputs(graph, sizes);
      return [{ sizes, inputs, answers: await ask(graph, probe, inputs) }];
    } catch {
      return [];
    }
  };
  const names = freeDimensions(graph, options);
  const together = names.length > 0 ? await attempt(names) : [];
  const tried = [...together];
  if (together.length === 0 && names.length > 1) {
    for (const name of names) tried.push(...(await attempt([name])));
  }
  const inDoubt = together.length === 0 && tried.length < names.length;
  for (const value of graph.values) {
    const { shape } = value;
    value.freeAxes = shape?.flatMap((dim, axis) => {
      const free = tried.some(({ inputs, answers }) => {
        const other = value.producer
          ? answers.get(value)?.shape
          : (inputs.get(value) ?? value.initializer?.dims);
        return other?.length !== shape.length || other[axis] !== dim;
      });
      const constant = !value.producer && value.initializer !== undefined;
      return free || (inDoubt && !constant) ? [axis] : [];
    });
    // A scalar with these sizes may have another rank with others.
    if (shape?.length === 0 && inDoubt && value.producer) value.freeAxes = undefined;
  }
  return tried.map(({ sizes }) => sizes);
}

/**
 * Type and shape of every value that a node computes. If ONNX Runtime computes a shape only in the kernel (a Scaler in front
 * of a network), the operator is run and its outputs become inputs of the probe copy. ONNX Runtime folds no CastLike, so that a
 * Range behind one has no length: once its type is known, Cast stands for it.
 */
async function ask(
  graph: Graph,
  probe: Probe,
  inputs: ReadonlyMap<Value, readonly number[]>,
): Promise<Map<Value, TypeAndShape>> {
  const given = new Map<Value, TypeAndShape>();
  const tried = new Set<Node>();
  let casts: Map<Value, DataTypeName> | undefined;
  for (;;) {
    const answers = await askOnce(graph, probe, inputs, given, casts);
    if (!casts) {
      casts = new Map();
      for (const { op, outputs } of graph.nodes) {
        const type = op === "CastLike" && answers.get(outputs[0] as Value)?.type;
        if (type) casts.set(outputs[0] as Value, type);
      }
      if (casts.size > 0) continue;
    }
    const known = (value: Value): TypeAndShape =>
      answers.get(value) ?? {
        type: value.type,
        shape: value.initializer?.dims ?? inputs.get(value),
      };
    const isKnown = (value: Value | null) => !value || known(value).shape !== undefined;
    const isOwn = ({ domain, outputs, inputs }: Node) =>
      domain !== "" && !outputs.every(isKnown) && inputs.every(isKnown);
    const next = graph.nodes.filter((node) => !tried.has(node) && isOwn(node));
    if (next.length === 0) return answers;
    const { canRun, runNode } = await import("./run-node.ts");
    let learned = false;
    for (const node of next) {
      tried.add(node);
      const results = canRun(graph, node) ? await runNode(graph, node, known, probe) : undefined;
      for (const [value, result] of results ?? []) given.set(value, result);
      learned ||= results !== undefined;
    }
    if (!learned) return answers;
  }
}

/**
 * The types and shapes that ONNX Runtime infers.
 * @param given - outputs of operators that it does not infer
 * @param casts - types of results of CastLike
 */
async function askOnce(
  graph: Graph,
  probe: Probe,
  inputs: ReadonlyMap<Value, readonly number[]>,
  given: ReadonlyMap<Value, TypeAndShape>,
  casts: ReadonlyMap<Value, DataTypeName> | undefined,
): Promise<Map<Value, TypeAndShape>> {
  const result = new Map<Value, TypeAndShape>();
  const hidden = undescribedValues(graph);
  const asked: Value[] = [];
  for (const value of graph.values) {
    const constant = value.producer && constantOf(value.producer);
    const found = given.get(value);
    if (constant) result.set(value, { type: constant.type, shape: constant.dims });
    else if (found) result.set(value, found);
    else if (value.producer && !hidden.has(value)) asked.push(value);
  }
  if (asked.length === 0 && hidden.size === 0) return result;
  const castsOf = new Map([...hidden.keys()].map((value) => [value, graph.freshName(`${value.name}.float`)]));
  const described = await probeOutputs(graph, probe, inputs, { values: asked, castsOf, casts }, given);
  const byName = new Map(described.map((output) => [output.name, output]));
  const known = (name: string) => staticShape(byName.get(name)?.shape);
  for (const value of asked)
    result.set(value, { type: byName.get(value.name)?.type, shape: known(value.name) });
  for (const [value, name] of castsOf) result.set(value, { type: hidden.get(value), shape: known(name) });

  // An empty shape is a scalar or an unknown rank; the length of Shape(value) decides which.
  const doubtful = [...asked, ...castsOf.keys()].filter((value) => result.get(value)?.shape?.length === 0);
  if (doubtful.length === 0) return result;
  const shapesOf = new Map(doubtful.map((value) => [value, graph.freshName(`${value.name}.shape`)]));
  const ranks = await probeOutputs(graph, probe, inputs, { values: [], shapesOf, casts }, given);
  const rankOf = new Map(ranks.map((output) => [output.name, output.shape?.[0]]));
  for (const [value, name] of shapesOf) {
    if (rankOf.get(name) !== 0) result.set(value, { type: result.get(value)?.type, shape: undefined });
  }
  return result;
}

/** A shape without unknown dimensions, or undefined. */
function staticShape(shape: readonly (number | string)[] | undefined): readonly number[] | undefined {
  return shape?.every((dim) => typeof dim === "number") ? shape : undefined;
}

/** Operators whose output type does not follow the type of their input. */
const retyping = new Set([
  ...[
    "Shape",
    "Size",
    "Equal",
    "Less",
    "LessOrEqual",
    "Greater",
    "GreaterOrEqual",
    "IsNaN",
    "IsInf",
    "ArgMax",
    "ArgMin",
  ],
  ...["NonZero", "DequantizeLinear"],
]);

/** Values of a type that no binding describes (bfloat16, float8), with that type, traced from where it first appears. */
export function undescribedValues(graph: Graph): Map<Value, DataTypeName> {
  const hidden = new Map<Value, DataTypeName>();
  const typeOf = (value: Value | null | undefined) =>
    value ? (hidden.get(value) ?? (value.producer ? undefined : value.type)) : undefined;
  for (const node of graph.sorted()) {
    const type = resultType(node, typeOf);
    if (!type || isDescribed(type)) continue;
    for (const output of node.outputs) if (output && !constantOf(node)) hidden.set(output, type);
  }
  return hidden;
}

function resultType(
  node: Node,
  typeOf: (value: Value | null | undefined) => DataTypeName | undefined,
): DataTypeName | undefined {
  if (node.opType === "Cast") return dataTypeName(node.int("to", 0));
  if (node.opType === "CastLike") return typeOf(node.inputs[1]);
  if (node.opType === "QuantizeLinear") {
    return node.attributes.has("output_dtype")
      ? dataTypeName(node.int("output_dtype", 0))
      : typeOf(node.inputs[2]);
  }
  if (node.opType === "Constant") return constantOf(node)?.type;
  return retyping.has(node.opType) ? undefined : typeOf(node.inputs[node.opType === "Where" ? 1 : 0]);
}
