import { int } from "../../src/graph/attribute.ts";
import { elementCount } from "../../src/onnx/tensor.ts";
import type { Penalty, PenaltyOptions } from "../../src/penalties/penalty.ts";
import { penaltyNamed } from "../../src/penalties/table.ts";
import { randomNormals } from "../helpers/numbers.ts";
import { attributesOf, type LayerCase, type LayerData } from "./layer-case.ts";

/** Layers of every kind and layout, by name. */
export const layers = {
  "Gemm, transB": { response: [7, 5], unitAxis: 1, weight: [5, 8], attributes: attributesOf.transposed },
  "Gemm, more units than inputs": { response: [4, 9], unitAxis: 1, weight: [4, 9], attributes: {} },
  "Gemm, weight on the left": {
    response: [4, 7],
    unitAxis: 0,
    weight: [4, 6],
    weightInput: 0,
    attributes: {},
  },
  "Gemm, weight on the left, transA": {
    ...{ response: [4, 7], unitAxis: 0, weight: [6, 4], weightInput: 0 },
    attributes: { transA: int(1) },
  },
  MatMul: { op: "MatMul", response: [2, 3, 5], unitAxis: 2, weight: [6, 5] },
  "MatMul, leading ones": { op: "MatMul", response: [2, 3, 5], unitAxis: 2, weight: [1, 6, 5] },
  "MatMul, weight on the left": {
    op: "MatMul",
    response: [2, 5, 6],
    unitAxis: 1,
    weight: [5, 4],
    weightInput: 0,
  },
  Conv: {
    op: "Conv",
    response: [2, 4, 3, 3],
    unitAxis: 1,
    weight: [4, 2, 3, 3],
    ...geometry([1, 1], [1, 1]),
  },
  "Conv, many units": {
    op: "Conv",
    response: [2, 9, 2, 3],
    unitAxis: 1,
    weight: [9, 2, 2, 2],
    ...geometry([1, 1], [1, 1]),
  },
  "Conv, stride 2": {
    op: "Conv",
    response: [2, 3, 2, 2],
    unitAxis: 1,
    weight: [3, 2, 3, 3],
    ...geometry([2, 2], [1, 1]),
  },
  "Conv, stride [2, 1], dilation [1, 2], 3×2": {
    ...{ op: "Conv", response: [2, 3, 2, 2], unitAxis: 1, weight: [3, 2, 3, 2] },
    ...geometry([2, 1], [1, 2]),
  },
  "Conv, stride 6, dilation 4": {
    ...{ op: "Conv", response: [2, 3, 2, 2], unitAxis: 1, weight: [3, 1, 5, 5] },
    ...geometry([6, 6], [4, 4]),
  },
  "Conv, 3 groups": {
    ...{ op: "Conv", response: [2, 6, 3, 2], unitAxis: 1, weight: [6, 2, 2, 3], groups: 3 },
    ...geometry([1, 1], [1, 1], 3),
  },
  "Conv 1-D": { op: "Conv", response: [2, 4, 5], unitAxis: 1, weight: [4, 3, 3], ...geometry([1], [1]) },
  "Conv 3-D": {
    op: "Conv",
    response: [1, 3, 2, 2, 2],
    unitAxis: 1,
    weight: [3, 2, 2, 2, 2],
    ...geometry([1, 1, 1], [1, 1, 1]),
  },
  ConvTranspose: { op: "ConvTranspose", response: [2, 3, 4, 4], unitAxis: 1, weight: [2, 3, 2, 2] },
  "ConvTranspose, 2 groups": {
    ...{ op: "ConvTranspose", response: [2, 6, 3, 3], unitAxis: 1, weight: [4, 3, 2, 2], groups: 2 },
    attributes: { group: int(2) },
  },
} as const satisfies Readonly<Record<string, LayerCase>>;

function geometry(strides: readonly number[], dilations: readonly number[], group = 1) {
  return { attributes: attributesOf.convolution(strides, dilations, group) };
}

/** Penalties with the options that are worth a case of their own, by what the command line would say. */
export const penalties: Readonly<Record<string, Penalty>> = Object.fromEntries(
  (
    [
      ["som", {}],
      ["som", { reduction: "sum" }],
      ["som", { rows: "random", directions: 24, seed: 3 }],
      ["som", { rows: "random", directions: 3 }],
      ["som", { angles: "weights" }],
      ["som", { angles: "weights", reduction: "sum" }],
      ["som", { maxRows: 2, seed: 1 }],
      ["som", { maxRows: 4, center: true }],
      ["som", { center: true }],
      ["som", { scale: "rms", gamma: 2 }],
      ["som", { center: true, scale: "rms", gamma: 2 }],
      ["som", { bias: "remove" }],
      ["so", {}],
      ["spectral-so", { iterations: 4 }],
      ["dso", {}],
      ["biggan", {}],
      ["mc", {}],
      ["srip", { seed: 2 }],
      ["ocnn", {}],
      ["ocnn", { norm: "frobenius" }],
      ["keras", {}],
      ["keras", { mode: "columns" }],
      ["mhe", {}],
      ["mhe", { s: 1 }],
      ["mhe", { s: 2 }],
      ["mhe", { s: 0, half: true }],
      ["mhe", { s: 2, half: true }],
      ["mma", {}],
      ["lorth", {}],
      ["decov", {}],
      ["barlow", {}],
      ["vicreg", {}],
    ] as readonly (readonly [string, PenaltyOptions])[]
  ).map(([name, options]) => {
    const text = Object.entries(options).map(([key, value]) => `${key}=${value}`);
    return [[name, ...(text.length > 0 ? [text.join(",")] : [])].join(":"), penaltyNamed(name, options)];
  }),
);

/** Seeded normal numbers for a case: weights of about the size of an initialization. */
export function dataFor(name: string, c: LayerCase, scale = 0.3): LayerData {
  const numbers = (what: string, shape: readonly number[], size: number) =>
    randomNormals(`${what} ${name}`, elementCount(shape)).map((value) => value * size);
  const units = c.response[c.unitAxis] ?? 0;
  return {
    response: numbers("response", c.response, 0.15),
    weight: numbers("weight", c.weight ?? [units, 1], scale),
    ...(c.bias && { bias: numbers("bias", c.bias, 0.1) }),
  };
}
