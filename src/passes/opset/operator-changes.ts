import { type Attribute, int, string } from "../../graph/attribute.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Node, Value } from "../../graph/node.ts";
import { isRead } from "../../graph/reach.ts";
import { tableOf } from "../../lookup.ts";
import { DataType, type DataTypeName } from "../../onnx/data-types.ts";
import { Tensor } from "../../onnx/tensor.ts";

/** Rewrites a node of an older form in place; returns why it cannot. */
type Adapter = (graph: Graph, node: Node) => string | undefined;

/** An opset in which an operator's form changed, and the function that converts a node from the previous form. */
interface Change {
  readonly since: number;
  readonly adapt: Adapter;
}

/** A name derived from an output, because output names are unique, even across bodies. */
const constantName = (graph: Graph, node: Node, stem: string): string =>
  graph.freshName(`${node.outputs.find((output) => output)?.name ?? node.label}/${stem}`);

/** Lets a node read int64 constants. */
function readIntegers(
  graph: Graph,
  node: Node,
  index: number,
  stem: string,
  values: readonly number[],
): void {
  const name = constantName(graph, node, stem);
  graph.appendInput(node, index, graph.addInitializer(Tensor.int64(name, [values.length], values)));
}

/** Turns a float attribute into an input, in the type of the node's first input. */
function readNumber(graph: Graph, node: Node, index: number, stem: string, value: number): void {
  const name = constantName(graph, node, stem);
  const [first] = node.inputs;
  if (first?.type === "double") {
    const double = Tensor.of(name, "double", [], Float64Array.of(Math.fround(value)));
    graph.appendInput(node, index, graph.addInitializer(double));
    return;
  }
  const number = graph.addInitializer(Tensor.float(name, [], [value]));
  graph.appendInput(node, index, inTypeOf(graph, number, first));
}

/** A float in the type of another value. */
function inTypeOf(graph: Graph, number: Value, like: Value | null | undefined): Value {
  if (!like || like.type === "float") return number;
  const half = like.type === "float16" || like.type === "bfloat16";
  if (half)
    return added(graph, "Cast", [number], `${number.name}.cast`, {
      to: int(DataType[like.type as DataTypeName]),
    });
  // Inside bodies types are not always known.
  return added(graph, "CastLike", [number, like], `${number.name}.cast`);
}

/** An additional node with one output. */
function added(
  graph: Graph,
  opType: string,
  inputs: readonly Value[],
  stem: string,
  attributes: Readonly<Record<string, Attribute>> = {},
): Value {
  const name = graph.freshName(stem);
  graph.addNode({ opType, name, inputs, outputs: [name], attributes: new Map(Object.entries(attributes)) });
  return graph.valueNamed(name);
}

/** `axes`, `split` and the like became the second input. */
const attributeToInput =
  (attribute: string): Adapter =>
  (graph, node) => {
    const values = node.ints(attribute);
    if (!values) return undefined;
    node.attributes.delete(attribute);
    readIntegers(graph, node, 1, attribute, values);
    return undefined;
  };

/** Float attributes became inputs, each optional. */
const numbersToInputs =
  (...names: readonly string[]): Adapter =>
  (graph, node) => {
    names.forEach((name, i) => {
      if (!node.attributes.has(name)) return;
      const value = node.float(name, 0);
      node.attributes.delete(name);
      readNumber(graph, node, i + 1, name, value);
    });
    return undefined;
  };

const axesToInput: readonly Change[] = [{ since: 13, adapt: attributeToInput("axes") }];
const reductionAxes: readonly Change[] = [{ since: 18, adapt: attributeToInput("axes") }];

/** Before opset 13 the input counted as a matrix: axes before `axis` (1) its rows, the others its columns. */
const coerced: Adapter = (graph, node) => {
  const [x] = node.inputs;
  const [y] = node.outputs;
  if (!x || !y) return "it has no input or no output";
  const axis = node.int("axis", 1);
  node.attributes.set("axis", int(-1));
  if (axis === -1 || axis + 1 === x.shape?.length) return undefined;
  const { name } = y;
  graph.setInput({ node, index: 0 }, added(graph, "Flatten", [x], `${name}/rows`, { axis: int(axis) }));
  graph.rename(y, graph.freshName(`${name}/matrix`));
  const shape = added(graph, "Shape", [x], `${name}/shape`);
  graph.replaceUses(y, added(graph, "Reshape", [y, shape], name), {
    outputs: true,
    except: new Set(graph.nodes.slice(-1)),
  });
  return undefined;
};
const coercedSoftmax: readonly Change[] = [{ since: 13, adapt: coerced }];

/** Upsample, and Resize of opset 10: (X, scales) with the corners of pixels as coordinates. */
const toResize: Adapter = (graph, node) => {
  const scales = node.inputs[1];
  if (!scales) return "it has no scales";
  const nearest = node.string("mode", "nearest") === "nearest";
  const numbers = scales.initializer?.numbers();
  const shrinks = node.opType === "Resize" && (numbers?.some((scale) => scale < 1) ?? true);
  if (nearest && shrinks && !numbers?.every((scale) => scale <= 1)) {
    return "it may enlarge one axis and shrink another, which were rounded differently";
  }
  graph.dropNodeInputs(node, 1);
  graph.appendInput(node, 2, scales);
  node.opType = "Resize";
  node.attributes.set("coordinate_transformation_mode", string("asymmetric"));
  if (nearest) node.attributes.set("nearest_mode", string(shrinks ? "ceil" : "floor"));
  return undefined;
};

const scalesToInput: Adapter = (graph, node) => {
  const scales = node.attributes.get("scales");
  if (scales?.kind !== "floats") return "it has no scales";
  node.attributes.delete("scales");
  const name = constantName(graph, node, "scales");
  graph.appendInput(node, 1, graph.addInitializer(Tensor.float(name, [scales.value.length], scales.value)));
  return undefined;
};

const sliceToInputs: Adapter = (graph, node) => {
  const starts = node.ints("starts") ?? [];
  const axes = node.ints("axes") ?? starts.map((_, axis) => axis);
  [starts, node.ints("ends") ?? [], axes].forEach((values, i) => {
    const name = ["starts", "ends", "axes"][i] ?? "";
    node.attributes.delete(name);
    readIntegers(graph, node, i + 1, name, values);
  });
  return undefined;
};

const statisticsOfChannels: Adapter = (_graph, node) => {
  if (node.int("spatial", 1) !== 1) return "it keeps statistics of every element (spatial=0)";
  node.attributes.delete("spatial");
  return undefined;
};

/** Outputs 1 to 4 marked the training form; the last two, saved statistics, are gone since opset 14. */
const batchNormalization: Adapter = (graph, node) => {
  if (node.outputs.slice(3).some((output) => isRead(graph, output))) {
    return "its saved statistics are read";
  }
  const training = node.outputs.slice(1).some((output) => output !== null);
  graph.dropNodeOutputs(node, training ? 3 : 1);
  if (training) node.attributes.set("training_mode", int(1));
  return undefined;
};

const floatMask: Adapter = (graph, node) =>
  isRead(graph, node.outputs[1]) ? "its mask is read, which became bool" : undefined;

const sized: Adapter = (_graph, node) => {
  if (!node.inputs[1]) node.attributes.set("num_outputs", int(node.outputs.length));
  return undefined;
};

const topK: Adapter = (graph, node) => {
  const k = node.int("k", 1);
  node.attributes.delete("k");
  readIntegers(graph, node, 1, "k", [k]);
  return undefined;
};

const padToInputs: Adapter = (graph, node) => {
  const problem = attributeToInput("pads")(graph, node);
  const value = node.float("value", 0);
  node.attributes.delete("value");
  if (value !== 0) readNumber(graph, node, 2, "value", value);
  return problem;
};

const renamed =
  (opType: string): Adapter =>
  (_graph, node) => {
    node.opType = opType;
    return undefined;
  };

/** An attribute's default changed: the old one is written out. */
const oldDefault =
  (name: string, value: string): Adapter =>
  (_graph, node) => {
    if (!node.attributes.has(name)) node.attributes.set(name, string(value));
    return undefined;
  };

/** Coordinates without the half pixel back: floor(z) is what half_pixel rounds z − ½ to, upwards at halves. */
const halfPixelForNearest: Adapter = (_graph, node) => {
  if (node.string("coordinate_transformation_mode", "") !== "tf_half_pixel_for_nn") return undefined;
  if (node.string("mode", "nearest") !== "nearest" || node.string("nearest_mode", "") !== "floor") {
    return "its coordinates (tf_half_pixel_for_nn) are gone since opset 13 and have no equal but for nearest_mode floor";
  }
  node.attributes.set("coordinate_transformation_mode", string("half_pixel"));
  node.attributes.set("nearest_mode", string("round_prefer_ceil"));
  return undefined;
};

/** The axis became an input, and the last axis of the signal its default instead of the first. */
const dftAxis: Adapter = (graph, node) => {
  const axis = node.int("axis", 1);
  node.attributes.delete("axis");
  const number = Tensor.of(constantName(graph, node, "axis"), "int64", [], BigInt64Array.of(BigInt(axis)));
  graph.appendInput(node, 2, graph.addInitializer(number));
  return undefined;
};

/** Modes are named after interpolation along one axis. */
const modesOfOneAxis: Adapter = (_graph, node) => {
  const mode = node.string("mode", "bilinear").replace(/^bi/, "");
  node.attributes.set("mode", string(mode));
  return undefined;
};

/**
 * Operators whose form changed between opsets 7 and 21, so that a node of the older form is not valid in the newer one. All
 * others only took more types, more optional inputs, or attributes whose defaults mean what went before.
 */
export const changes: Readonly<Record<string, readonly Change[]>> = tableOf({
  BatchNormalization: [
    { since: 9, adapt: statisticsOfChannels },
    { since: 14, adapt: batchNormalization },
  ],
  Clip: [{ since: 11, adapt: numbersToInputs("min", "max") }],
  DFT: [{ since: 20, adapt: dftAxis }],
  Dropout: [
    { since: 10, adapt: floatMask },
    { since: 12, adapt: numbersToInputs("ratio") },
  ],
  GridSample: [{ since: 20, adapt: modesOfOneAxis }],
  GroupNormalization: [
    {
      since: 21,
      adapt: () =>
        "its scale and bias have one number for each group, and one for each channel since opset 21",
    },
  ],
  Hardmax: coercedSoftmax,
  LogSoftmax: coercedSoftmax,
  Pad: [{ since: 11, adapt: padToInputs }],
  ReduceL1: reductionAxes,
  ReduceL2: reductionAxes,
  ReduceLogSum: reductionAxes,
  ReduceLogSumExp: reductionAxes,
  ReduceMax: reductionAxes,
  ReduceMean: reductionAxes,
  ReduceMin: reductionAxes,
  ReduceProd: reductionAxes,
  ReduceSum: axesToInput,
  ReduceSumSquare: reductionAxes,
  Resize: [
    { since: 11, adapt: toResize },
    { since: 13, adapt: halfPixelForNearest },
  ],
  RoiAlign: [{ since: 16, adapt: oldDefault("coordinate_transformation_mode", "output_half_pixel") }],
  Scan: [{ since: 9, adapt: () => "its form before opset 9 has a batch axis" }],
  Scatter: [{ since: 11, adapt: renamed("ScatterElements") }],
  Slice: [{ since: 10, adapt: sliceToInputs }],
  Softmax: coercedSoftmax,
  Split: [
    { since: 13, adapt: attributeToInput("split") },
    { since: 18, adapt: sized },
  ],
  Squeeze: axesToInput,
  TopK: [{ since: 10, adapt: topK }],
  Unsqueeze: axesToInput,
  Upsample: [
    { since: 9, adapt: scalesToInput },
    { since: 10, adapt: toResize },
  ],
});
