import { DataError } from "../errors.ts";
import type { DeclaredDim } from "../graph/node.ts";
import { sameShape, shapeText } from "../graph/shapes.ts";
import { type DataTypeName, isFloat } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { NumberRange, SampleType } from "./dataset.ts";

/** The type and shape of a model's input, which data must fit. */
export interface InputType {
  readonly name: string;
  readonly type?: DataTypeName | undefined;
  /** Shape including the batch axis; a name or undefined is a free dimension. */
  readonly shape: readonly DeclaredDim[];
  /** The batch axis; default 0. */
  readonly batchAxis?: number;
}

/** The conversion of an array's samples into samples of an input. */
export interface Fit {
  /** Shape of one sample of the input, without the batch axis. */
  readonly shape: readonly number[];
  /** Axes of a sample in the order of the input; undefined if the elements keep their order. */
  readonly order?: readonly number[];
  /** Message for the user. */
  readonly remark?: string;
}

const withoutOnes = (shape: readonly number[]): number[] => shape.filter((dim) => dim !== 1);

/**
 * How samples of a shape fit a model's input. Axes of length 1 may be added or removed, and samples may be flattened to one
 * axis; both keep the order of the elements. Images with channels last are transposed to channels first, and the reverse.
 * Nothing else is reshaped.
 * @param where - the data and the array, for messages
 * @throws SorthError that names both shapes and what to do
 *
 * @example
 * fitShape("mnist: x", [1, 28, 28], { name: "x", shape: ["batch", 784] }).shape; // [784]
 */
export function fitShape(where: string, shape: readonly number[], input: InputType): Fit {
  const { batchAxis = 0 } = input;
  const wanted = input.shape.filter((_, axis) => axis !== batchAxis);
  if (input.shape.length > 0 && matches(shape, wanted)) return { shape };
  const fixed = wanted.filter((dim) => typeof dim === "number");
  const flattens =
    input.shape.length > 0 &&
    fixed.length === wanted.length &&
    elementCount(fixed) === elementCount(shape) &&
    (fixed.length === 1 || sameShape(withoutOnes(fixed), withoutOnes(shape)));
  if (flattens) return { shape: fixed };
  const axes = shape.map((_, axis) => axis);
  const last = axes.at(-1) ?? 0;
  const orders = { first: [last, ...axes.slice(0, -1)], last: [...axes.slice(1), 0] };
  for (const [place, order] of Object.entries(orders)) {
    const moved = order.map((axis) => shape[axis] as number);
    const channels = place === "first" ? moved[0] : moved.at(-1);
    if (shape.length < 3 || !matches(moved, wanted) || (channels ?? 0) > mostChannels) continue;
    const [from, to] = place === "first" ? ["last", "first"] : ["first", "last"];
    const remark = `${where}: samples of shape ${shapeText(shape)} hold their channels ${from}, input "${input.name}" takes them ${to}: transposed to ${shapeText(moved)}`;
    return { shape: moved, order, remark };
  }
  const declared = `[${input.shape.map((dim) => dim ?? "?").join(", ")}]`;
  throw new DataError(
    `${where}: samples have shape ${shapeText(shape)}, but input "${input.name}" of the model takes ${declared} (samples on axis ${batchAxis}): ${adviceFor(shape, wanted)}`,
  );
}

/** Largest number of channels for which images are transposed automatically. */
const mostChannels = 4;

const matches = (shape: readonly number[], wanted: readonly DeclaredDim[]): boolean =>
  wanted.length === shape.length &&
  wanted.every((dim, axis) => typeof dim !== "number" || dim === shape[axis]);

function adviceFor(shape: readonly number[], wanted: readonly DeclaredDim[]): string {
  const order = permutationTo(shape, wanted);
  if (order) {
    const axes = [0, ...order.map((axis) => axis + 1)].join(", ");
    return `transpose the array, np.transpose(x, (${axes})); a reshape would scramble it`;
  }
  return "save samples of that shape, or choose other data";
}

/** A permutation of the axes that turns one shape into another. */
function permutationTo(
  shape: readonly number[],
  wanted: readonly DeclaredDim[],
): readonly number[] | undefined {
  if (shape.length !== wanted.length || shape.length > 5) return undefined;
  const search = (order: readonly number[]): readonly number[] | undefined => {
    const dim = wanted[order.length];
    if (order.length === shape.length) return order;
    for (const axis of shape.keys()) {
      if (order.includes(axis) || (typeof dim === "number" && shape[axis] !== dim)) continue;
      const found = search([...order, axis]);
      if (found) return found;
    }
    return undefined;
  };
  return search([]);
}

/** Smallest and largest number of each type: those it represents exactly or, for floats, as a finite number. */
const limits: Partial<Record<DataTypeName, readonly [number, number]>> = {
  float: [-3.4028235e38, 3.4028235e38],
  double: [-Number.MAX_VALUE, Number.MAX_VALUE],
  float16: [-65504, 65504],
  int8: [-(2 ** 7), 2 ** 7 - 1],
  uint8: [0, 2 ** 8 - 1],
  int16: [-(2 ** 15), 2 ** 15 - 1],
  uint16: [0, 2 ** 16 - 1],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  int64: [-(2 ** 63), 2 ** 63],
  uint64: [0, 2 ** 64],
  bool: [0, 1],
};

/**
 * Checks that the numbers of an array fit the type of an input.
 * @param range - undefined if unknown
 * @throws SorthError that names the number and both types
 */
export function checkNumbers(
  where: string,
  { type }: SampleType,
  range: NumberRange | undefined,
  input: InputType,
): void {
  const limit = input.type && limits[input.type];
  if (!limit) {
    throw new DataError(
      `input "${input.name}" of the model takes ${input.type ?? "an unknown type"}, to which data cannot be converted`,
    );
  }
  const takes = `${where}: input "${input.name}" of the model takes ${input.type}`;
  if (!isFloat(input.type) && type === "float" && !range?.whole) {
    throw new DataError(`${takes}, but the array holds floats; save it as integers`);
  }
  if (!range) return;
  const [least, most] = limit;
  const outside = range.least < least ? range.least : range.most > most ? range.most : undefined;
  if (outside === undefined) return;
  const allowed = input.type === "bool" ? "0 and 1" : `${least} to ${most}`;
  throw new DataError(`${takes} (${allowed}), but the array holds ${outside}`);
}
