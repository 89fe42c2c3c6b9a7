import { isPointwise, windowGeometry } from "../../autodiff/rules/window-geometry.ts";
import type { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import type { Node, Value } from "../../graph/node.ts";
import { allAxes, dimAt, normalizeAxis, type Shape, sameShape } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { rowPatches } from "./row-patches.ts";
import { channelsLast, positionsOf, rowsShape, toChannelsFirst, toChannelsLast } from "./rows.ts";

/** How a node works on rows. */
export interface RowForm {
  /** Indices of the inputs that it reads as rows. */
  readonly inputs: readonly number[];
  /** Whether its first output is rows; if not, it has the same shape as before. Other outputs always do. */
  readonly rows: boolean;
  /** Whether it reads numbers for each channel beside the image, which costs more the fewer positions an image has. */
  readonly perChannel: boolean;
  /** @returns one value for each output */
  readonly emit: (g: Emit, read: (input: number) => Typed) => readonly Typed[];
}

type Makes = (node: Node) => RowForm | undefined;

/** Operators of one input (and perhaps constants) that treat every number alike. */
const unary = [
  ...["Relu", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Softplus", "Softsign", "Clip", "Cast"],
  ...[
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Mish",
    "Swish",
    "Tanh",
    "Erf",
    "Gelu",
    "Identity",
    "Neg",
    "Abs",
  ],
  ...["Exp", "Log", "Sqrt", "Reciprocal", "Sin", "Cos", "com.microsoft.Gelu", "com.microsoft.QuickGelu"],
];
/** Operators that combine their inputs number by number, with broadcasting. */
const combining = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Pow", "PRelu"];

const table: Readonly<Record<string, Makes>> = {
  ...Object.fromEntries(unary.map((op) => [op, elementwise])),
  ...Object.fromEntries(combining.map((op) => [op, broadcasting])),
  Conv: convolution,
  BatchNormalization: normalization,
  GlobalAveragePool: (node) => mean(node, true),
  ReduceMean: reduceMean,
  Concat: concat,
  Transpose: transposition,
};

/** The form of a node on rows; undefined if it must read and write images. */
export function rowForm(node: Node): RowForm | undefined {
  if (node.captures.length > 0) return undefined;
  return table[node.op]?.(node);
}

/** Whether a value can be rows: an image with at least one spatial axis, of floats that the CPU multiplies. */
const isImage = (value: Value | null | undefined): value is Typed =>
  (value?.type === "float" || value?.type === "double") &&
  (value.shape?.length ?? 0) >= 3 &&
  elementCount(value.shape ?? []) > 0;

const [first, image] = [(node: Node) => node.inputs[0], (node: Node) => node.outputs[0]];

/** The same node on other inputs. */
function again(g: Emit, node: Node, inputs: readonly (Value | null)[], shape: Shape): Typed {
  return g.op(node.opType, inputs, shape, {
    type: typed(image(node) as Value).type,
    attributes: Object.fromEntries(node.attributes),
    domain: node.domain,
  });
}

function elementwise(node: Node): RowForm | undefined {
  const [x, y] = [first(node), image(node)];
  if (!isImage(x) || !isImage(y)) return undefined;
  return {
    ...{ inputs: [0], rows: true, perChannel: false },
    emit: (g, read) => [again(g, node, [read(0), ...node.inputs.slice(1)], rowsShape(y.shape))],
  };
}

/** Add, Mul …: of images of one shape, numbers for each channel, numbers for each sample and channel, and single numbers. */
function broadcasting(node: Node): RowForm | undefined {
  const y = image(node);
  if (!isImage(y)) return undefined;
  const kinds = node.inputs.map((input) => input?.shape && operandKind(input, y.shape));
  if (!kinds.every((kind) => kind !== undefined) || !kinds.includes("image")) return undefined;
  const bySample = kinds.includes("sample");
  const [rows, channels] = rowsShape(y.shape);
  const samples = dimAt(y.shape, 0);
  const shape = bySample ? [samples, rows / samples, channels] : [rows, channels];
  const operand = (g: Emit, kind: string, index: number, read: (input: number) => Typed): Typed => {
    if (kind === "image") return g.reshape(read(index), shape);
    if (kind === "sample") return g.reshape(read(index), [samples, 1, channels]);
    const value = typed(node.inputs[index] as Value);
    if (kind === "channel") return g.reshape(value, [channels]);
    return value.shape.length <= shape.length
      ? value
      : g.reshape(
          value,
          shape.map(() => 1),
        );
  };
  return {
    inputs: kinds.flatMap((kind, index) => (kind === "image" || kind === "sample" ? [index] : [])),
    rows: true,
    perChannel: kinds.includes("channel") || bySample,
    emit: (g, read) => {
      const operands = kinds.map((kind, index) => operand(g, kind as string, index, read));
      return [g.reshape(again(g, node, operands, shape), [rows, channels])];
    },
  };
}

/** How an operand broadcasts to an image; undefined if it differs by position. */
function operandKind(operand: Value, shape: Shape): "image" | "sample" | "channel" | "number" | undefined {
  const own = operand.shape ?? [];
  if (sameShape(own, shape)) return isImage(operand) ? "image" : undefined;
  if (elementCount(own) === 1) return "number";
  const aligned = [...shape.slice(own.length).map(() => 1), ...own];
  const [samples, channels, ...space] = aligned.slice(-shape.length);
  if (own.length > shape.length || channels !== shape[1] || space.some((dim) => dim !== 1)) return undefined;
  if (samples === 1) return "channel";
  return samples === shape[0] && isImage(operand) ? "sample" : undefined;
}

/** A convolution without groups: one product of the windows with the kernel as [...kernel·C, K]. */
function convolution(node: Node): RowForm | undefined {
  const [x, w] = node.inputs;
  const y = image(node);
  if (!isImage(x) || !isImage(y) || !w?.shape || node.int("group", 1) !== 1) return undefined;
  const space = w.shape.slice(2);
  const geometry = windowGeometry(node, space, x.shape.slice(2), y.shape.slice(2));
  const units = dimAt(w.shape, 0);
  const order = [...space.map((_, axis) => axis + 2), 1, 0];
  return {
    ...{ inputs: [0], rows: true, perChannel: false },
    emit: (g, read) => {
      // An earlier node on rows may have replaced what the node reads.
      const [, weight, added] = node.inputs;
      const kernel = typed(weight as Value);
      const patches = isPointwise(geometry)
        ? read(0)
        : rowPatches(g, g.reshape(read(0), channelsLast(x.shape)), geometry);
      const columns = dimAt(patches.shape, 1);
      const matrix = g.once(`columns of kernel ${kernel.name}`, () =>
        g.op("Reshape", [g.transpose(kernel, order), g.int64s([columns, units])], [columns, units]),
      );
      return [g.gemm(patches, matrix, added ? { added } : {})];
    },
  };
}

/** BatchNormalization of rows: [rows, C] has its channels on axis 1 too. */
function normalization(node: Node): RowForm | undefined {
  const x = first(node);
  if (!isImage(x) || node.outputs.includes(null)) return undefined;
  return {
    ...{ inputs: [0], rows: true, perChannel: true },
    emit: (g, read) => {
      const rows = read(0);
      const outputs = node.outputs.flatMap((output, index) =>
        output ? [index === 0 ? { type: rows.type, shape: rows.shape } : typed(output)] : [],
      );
      return g.multi(node.opType, [rows, ...node.inputs.slice(1)], outputs, {
        attributes: Object.fromEntries(node.attributes),
      });
    },
  };
}

/** The mean over all positions; the result is rows too if it keeps its axes. */
function mean(node: Node, kept: boolean): RowForm | undefined {
  const x = first(node);
  if (!isImage(x)) return undefined;
  const [samples, channels] = [dimAt(x.shape, 0), dimAt(x.shape, 1)];
  return {
    ...{ inputs: [0], rows: kept, perChannel: false },
    emit: (g, read) => [g.reduceMean(g.reshape(read(0), [samples, positionsOf(x.shape), channels]), [1])],
  };
}

function reduceMean(node: Node): RowForm | undefined {
  const [x, axes] = node.inputs;
  if (!isImage(x)) return undefined;
  const rank = x.shape.length;
  const given = (axes ? axes.initializer?.numbers() : node.ints("axes")) ?? [];
  const over = Array.from(given, (axis) => normalizeAxis(axis, rank)).sort((a, b) => a - b);
  return sameShape(over, allAxes(rank).slice(2)) ? mean(node, node.flag("keepdims", true)) : undefined;
}

/** Concatenation of channels. */
function concat(node: Node): RowForm | undefined {
  const y = image(node);
  if (!isImage(y) || !node.inputs.every((input) => isImage(input))) return undefined;
  if (normalizeAxis(node.int("axis", 0), y.shape.length) !== 1) return undefined;
  return {
    ...{ inputs: node.inputs.map((_, index) => index), rows: true, perChannel: false },
    emit: (g, read) => [
      g.concat(
        node.inputs.map((_, index) => read(index)),
        1,
      ),
    ],
  };
}

/** Transposes between [N, C, …] and [N, …, C] cost nothing where the image is rows. */
function transposition(node: Node): RowForm | undefined {
  const [x, y] = [first(node), image(node)];
  if (!isImage(x) || !isImage(y)) return undefined;
  const order = node.ints("perm") ?? [];
  if (sameShape(order, toChannelsLast(order.length))) {
    return {
      ...{ inputs: [0], rows: false, perChannel: false },
      emit: (g, read) => [g.reshape(read(0), y.shape)],
    };
  }
  if (!sameShape(order, toChannelsFirst(order.length))) return undefined;
  return {
    ...{ inputs: [], rows: true, perChannel: false },
    emit: (g) => [g.reshape(node.inputs[0] as Value, rowsShape(y.shape))],
  };
}
