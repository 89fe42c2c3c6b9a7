import { constantTensor } from "../../../analysis/probe-model.ts";
import { centered } from "../../../autodiff/rules/padding.ts";
import { string } from "../../../graph/attribute.ts";
import type { Emit } from "../../../graph/emit.ts";
import type { Node } from "../../../graph/node.ts";
import { allAxes, dimAt, normalizeAxis } from "../../../graph/shapes.ts";
import {
  inputOf,
  optionalInput,
  outputShape,
  unary,
  type WrittenOut,
  type WrittenOutTable,
} from "./written-out.ts";

/** Pad with numbers for every axis, where only some have any. */
function padEveryAxis(g: Emit, node: Node): ReturnType<WrittenOut> {
  const x = inputOf(node, 0);
  const rank = x.shape.length;
  const pads = constantTensor(node.inputs[1])?.numbers();
  const axes = node.inputs[3] ? constantTensor(node.inputs[3])?.numbers() : allAxes(rank);
  if (!pads || !axes || (node.domain === "" && !node.inputs[3])) return undefined;
  const all = Array<number>(2 * rank).fill(0);
  for (const [i, axis] of axes.entries()) {
    const at = normalizeAxis(axis, rank);
    all[at] = dimAt(pads, i);
    all[at + rank] = dimAt(pads, i + axes.length);
  }
  const value = optionalInput(node, 2);
  const attributes = { mode: string(node.string("mode", "constant")) };
  return [
    g.op("Pad", [x, g.int64s(all), ...(value ? [g.reshape(value, [])] : [])], outputShape(node), {
      attributes,
    }),
  ];
}

/** The operator of the same name in the standard domain, with the same inputs and attributes. */
const inStandardDomain: WrittenOut = (g, node) => [
  g.op(node.opType, node.inputs, outputShape(node), { attributes: Object.fromEntries(node.attributes) }),
];

/** Products with operands that are transposed first, and a factor. */
const fusedProduct: WrittenOut = (g, node) => {
  if (node.flag("transBatchA") || node.flag("transBatchB")) return undefined;
  const operand = (index: number, attribute: string) => {
    const x = inputOf(node, index);
    return node.flag(attribute) && x.shape.length > 1 ? g.transposeLast(x) : x;
  };
  const product = g.matMul(operand(0, "transA"), operand(1, "transB"));
  const factor = node.float("alpha", 1);
  return [factor === 1 ? product : g.mul(product, factor)];
};

export const arrangements: WrittenOutTable = {
  Pad: padEveryAxis,
  SpaceToDepth: unary((g, x, node) => {
    const block = node.int("blocksize", 1);
    const [n, c, h, w] = x.shape as [number, number, number, number];
    const cut = g.reshape(x, [n, c, h / block, block, w / block, block]);
    return g.reshape(g.transpose(cut, [0, 3, 5, 1, 2, 4]), outputShape(node));
  }),
  CenterCropPad: unary((g, x, node) => {
    const pads = outputShape(node).map((dim, axis) => centered(dimAt(x.shape, axis), dim));
    return g.identity(g.pad(x, [...pads.map(([begin]) => begin), ...pads.map(([, end]) => end)]));
  }),
  "com.microsoft.Pad": padEveryAxis,
  "com.microsoft.GatherND": inStandardDomain,
  "com.microsoft.Trilu": inStandardDomain,
  "com.microsoft.ExpandDims": unary((g, x, node) => g.reshape(x, outputShape(node))),
  "com.microsoft.FusedMatMul": fusedProduct,
  "com.microsoft.TransposeMatMul": fusedProduct,
};
