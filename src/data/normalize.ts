import { constantOf } from "../analysis/probe-model.ts";
import { DataError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import type { Column } from "./dataset.ts";
import type { InputType } from "./fit.ts";

/** (v − mean)/std; bytes are divided by 255 first. One number for all, or one for each channel. */
export interface MeanAndStd {
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

/**
 * Conversion of pixels: `0..1` divides them by 255, `none` leaves them unchanged, a mean and a standard deviation are
 * subtracted and divided by.
 */
export type Normalization = "0..1" | "none" | MeanAndStd;

/** Mean and standard deviation of ImageNet's red, green and blue in 0 … 1, as torchvision's models expect them. */
export const imagenet: MeanAndStd = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/** The numbers that each channel of a sample is scaled with. */
export interface ChannelScale extends MeanAndStd {
  /** Length of a channel's run of elements, and the distance at which channels repeat. */
  readonly inner: number;
}

/**
 * The numbers for each channel of a sample.
 * @param shape - of a sample as it is read
 * @throws UsageError when the sample has no channels of that number
 */
export function channelScale(
  where: string,
  normalize: Normalization | undefined,
  shape: readonly number[],
): ChannelScale | undefined {
  if (typeof normalize !== "object") return undefined;
  const { mean, std } = normalize ?? {};
  const isPair = Array.isArray(mean) && Array.isArray(std);
  const channels = isPair ? mean.length : 0;
  if (!isPair || channels !== std.length || channels === 0 || !std.every((one) => one > 0)) {
    throw new UsageError(
      "--normalize: give as many standard deviations as means, all above 0, as in mean=0.5,std=0.25 or mean=0.5/0.4/0.4,std=0.2/0.2/0.2",
    );
  }
  const axis = channels === 1 ? -1 : [0, shape.length - 1].find((at) => shape[at] === channels);
  if (axis === undefined) {
    throw new UsageError(
      `${where}: --normalize has ${channels} channels, but samples have shape [${shape.join(", ")}]; give one mean and one standard deviation, or as many as channels`,
    );
  }
  const inner = shape.slice(axis + 1).reduce((product, dim) => product * dim, 1);
  return { mean, std, inner: channels === 1 ? 1 : inner };
}

/** The number by which `0..1` divides pixels. */
const pixelScale = 255;

/** The normalization chosen for a dataset, and the reasons. */
interface NormalizationChoice {
  /** Undefined if there was nothing to decide. */
  readonly normalize: Normalization | undefined;
  readonly remarks: readonly string[];
}

/**
 * Chooses the normalization of a dataset. Arrays of bytes with values above 127 count as pixels (0 … 255): a float input
 * receives them as 0 … 1, unless the model itself divides them or subtracts a mean of that scale. Other numbers stay unchanged.
 * @param fed - inputs, and the arrays that are fed to them
 */
export function chooseNormalization(
  where: string,
  fed: readonly (readonly [InputType, Column])[],
  graphOf: () => Graph,
): NormalizationChoice {
  const found = fed.flatMap(([input, column]): NormalizationChoice[] => {
    if (!isFloat(input.type) || column.type === "none") return [];
    if (!column.bytes && column.shape.length < 2) return [];
    const { least, most, whole } = column.range();
    if (!whole || least < 0 || most <= 127 || most > pixelScale) return [];
    const scaled = scalingOf(graphOf(), input.name);
    const what = `${where}: ${column.name} holds pixels 0 … 255`;
    if (scaled) {
      const remark = `${what}, which the model scales itself (${scaled.op} "${scaled.label}"): taken as they are`;
      return [{ normalize: "none", remarks: column.bytes ? [remark] : [] }];
    }
    if (!column.bytes) {
      const remark = `${what} as ${column.type === "float" ? "floats" : "integers"}, taken as they are: --normalize 0..1 divides them by 255`;
      return [{ normalize: undefined, remarks: [remark] }];
    }
    return [
      { normalize: "0..1", remarks: [`${what}: divided by 255 (--normalize none takes them as they are)`] },
    ];
  });
  return {
    normalize: found.find(({ normalize }) => normalize !== undefined)?.normalize,
    remarks: found.flatMap(({ remarks }) => remarks),
  };
}

/**
 * The number by which the elements of an array are divided before they are fed to an input.
 * @throws SorthError when the normalization is `0..1` but the array does not hold pixels
 */
export function divisorOf(
  where: string,
  normalize: Normalization | undefined,
  input: InputType,
  column: Column,
): number {
  if (normalize === undefined || normalize === "none" || !isFloat(input.type)) return 1;
  if (normalize !== "0..1") return column.bytes ? pixelScale : 1;
  const { least, most } = column.range();
  if (column.bytes) return pixelScale;
  if (least >= 0 && most > 1 && most <= pixelScale) return pixelScale;
  throw new DataError(
    `${where}: --normalize 0..1 divides pixels by 255, but ${column.name} holds numbers from ${least} to ${most}; leave the option out`,
  );
}

/** Operators that do not change the values of pixels. */
const passing = new Set([
  ...[
    "Cast",
    "Identity",
    "Transpose",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Slice",
    "Resize",
    "Pad",
  ],
]);

/** The node that rescales the pixels of an input, if the model's first operators do. */
function scalingOf(graph: Graph, input: string): Node | undefined {
  const open = [graph.value(input)];
  for (const value of open) {
    for (const { node, index } of value?.uses ?? []) {
      if (node.domain !== "") continue;
      if (passing.has(node.opType) && index === 0) open.push(node.outputs[0] ?? undefined);
      const others = node.inputs.filter((_, i) => i !== index);
      const largest = Math.max(...others.flatMap((other) => numbersOf(other).map(Math.abs)));
      const divides = node.opType === "Div" && index === 0 && largest >= 50;
      const multiplies = node.opType === "Mul" && largest <= 0.02 && largest > 0;
      const shifts = (node.opType === "Sub" || node.opType === "Add") && largest >= 50;
      if (Number.isFinite(largest) && (divides || multiplies || shifts)) return node;
    }
  }
  return undefined;
}

/** The numbers of a small constant, even if it is cast or reshaped; empty for other values. */
function numbersOf(value: Value | null | undefined): number[] {
  const { producer } = value ?? {};
  const single = producer?.attributes.get("value_float") ?? producer?.attributes.get("value_floats");
  if (producer?.opType === "Constant" && single?.kind === "float") return [single.value];
  if (producer?.opType === "Constant" && single?.kind === "floats") return [...single.value];
  const tensor = value?.initializer ?? (producer && constantOf(producer));
  if (tensor) return tensor.size <= 4096 ? tensor.numbers() : [];
  return producer && passing.has(producer.opType) ? numbersOf(producer.inputs[0]) : [];
}
