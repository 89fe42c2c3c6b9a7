import { constantTensor } from "../../analysis/probe-model.ts";
import { SorthError } from "../../errors.ts";
import { int } from "../../graph/attribute.ts";
import type { Emit } from "../../graph/emit.ts";
import type { Typed } from "../../graph/emit-base.ts";
import { dimAt, normalizeAxis } from "../../graph/shapes.ts";
import { isFloat } from "../../onnx/data-types.ts";
import { elementCount, Tensor } from "../../onnx/tensor.ts";
import type { RuleContext, RuleTable, SampleInput } from "../rule.ts";
import { sumOverBlocks, whenArrived } from "./blocks.ts";
import { addedWhereRead } from "./indexing.ts";

/** The part of a rule's context from which the weight is computed. */
type BlockContext = Pick<RuleContext, "node" | "inputs">;

const refusal = ({ node }: BlockContext, reason: string): SorthError =>
  new SorthError(`cannot differentiate ${node.op} (node "${node.label}"): ${reason}`);

/** Rows of `count` elements of `bits` bits, each row in whole bytes → all rows as 4-bit elements, packed without gaps. */
function asNibbles(bytes: Uint8Array, rows: number, count: number, bits: number): Uint8Array {
  const stride = Math.ceil((count * bits) / 8);
  const mask = 2 ** bits - 1;
  const packed = new Uint8Array(Math.ceil((rows * count) / 2));
  for (let i = 0; i < rows * count; i++) {
    const bit = (i % count) * bits;
    const element = ((bytes[Math.floor(i / count) * stride + (bit >> 3)] ?? 0) >> (bit & 7)) & mask;
    packed[i >> 1] = (packed[i >> 1] ?? 0) | (element << (4 * (i & 1)));
  }
  return packed;
}

/** The weight of MatMulNBits as DequantizeLinear reads it: levels [N, columns] with scales and zero points [N, blocks]. */
interface BlockWeight {
  readonly rows: number;
  readonly blocks: number;
  readonly block: number;
  /** Number of columns, including those that fill up the last block. */
  readonly columns: number;
  /** (levels − zero points)·scales; zero points of floats are left out. */
  readonly dequantized: (scales: Typed) => Typed;
  /** Zero points of floats. */
  readonly zeros: Typed | undefined;
}

function blockWeight(context: BlockContext, g: Emit): BlockWeight {
  const { node } = context;
  const [rows, width, bits] = [node.int("N", 0), node.int("K", 0), node.int("bits", 4)];
  const block = node.int("block_size", 32);
  if (context.inputs[4]) {
    throw refusal(
      context,
      "it reads its columns in another order (g_idx); quantize the model without act-order",
    );
  }
  if (g.opset < 21) throw refusal(context, "blocks of 4-bit numbers need opset 21");
  const constant = (index: number): Tensor | undefined => {
    const value = context.inputs[index];
    const tensor = constantTensor(value);
    if (value && !tensor)
      throw refusal(context, `its input ${index} ("${value.name}") is computed from data`);
    return tensor;
  };
  const [weight, zeroTensor] = [
    constant(1) as Tensor,
    isFloat(context.inputs[3]?.type) ? undefined : constant(3),
  ];
  const blocks = Math.ceil(width / block);
  const columns = blocks * block;
  const type = bits === 8 ? "uint8" : "uint4";
  const tensor = (bytes: Tensor, of: number): Tensor => {
    const dims = [rows, of];
    if (bits === 8 || (bits === 4 && (of * rows) % 2 === 0 && of % 2 === 0)) return bytes.reread(type, dims);
    return Tensor.of("", type, dims, asNibbles(bytes.bytes, rows, of, bits));
  };
  const levels = () =>
    g.once(`levels of ${weightName(context)}`, () => g.tensorConstant(tensor(weight, columns)));
  const zeros = isFloat(context.inputs[3]?.type)
    ? g.reshape(context.inputs[3] as Typed, [rows, blocks])
    : undefined;
  const middle = () => {
    const count = Math.ceil((rows * blocks * (bits === 8 ? 8 : 4)) / 8);
    const filling = bits === 8 ? 128 : bits === 4 ? 0x88 : 0x22;
    return g.once(`middle ${type} ${rows} ${blocks} ${filling}`, () =>
      g.tensorConstant(Tensor.of("", type, [rows, blocks], new Uint8Array(count).fill(filling))),
    );
  };
  const zero = () => (zeroTensor ? g.tensorConstant(tensor(zeroTensor, blocks)) : middle());
  const dequantized = (scales: Typed) =>
    g.op("DequantizeLinear", [levels(), scales, ...(zeros ? [] : [zero()])], [rows, columns], {
      type: scales.type,
      attributes: { axis: int(1), block_size: int(block) },
    });
  return { rows, blocks, block, columns, dequantized, zeros };
}

const weightName = ({ node }: BlockContext) => node.inputs[1]?.name ?? "";

/** The weight of a MatMulNBits as a matrix of floats: [N, K]. */
export function dequantizedWeight(context: BlockContext, g: Emit): Typed {
  const { rows, blocks, block, columns, dequantized, zeros } = blockWeight(context, g);
  const scale = g.reshape(context.inputs[2] as Typed, [rows, blocks]);
  const whole = g.reshape(dequantized(scale), [rows, blocks, block]);
  const shifted = zeros ? g.sub(whole, g.reshape(g.mul(zeros, scale), [rows, blocks, 1])) : whole;
  const matrix = g.reshape(shifted, [rows, columns]);
  const width = context.node.int("K", 0);
  return width === columns ? matrix : g.slice(matrix, [{ axis: 1, start: 0, length: width }]);
}

const asRows = (g: Emit, x: Typed): Typed => {
  const columns = dimAt(x.shape, -1);
  return g.reshape(x, [elementCount(x.shape) / columns, columns]);
};

const bytes = (shape: number[], seed: number): SampleInput => ({
  shape,
  // Multiples of an odd number go through all bytes.
  constant: Array.from({ length: elementCount(shape) }, (_, i) => (seed + 37 * i) % 256),
  type: "uint8",
});
const scales = (rows: number, blocks: number): SampleInput => ({ shape: [rows, blocks], range: [0.05, 0.2] });
const fixed = (shape: number[]): SampleInput => ({
  shape,
  constant: Array.from({ length: elementCount(shape) }, (_, i) => 0.05 + (i % 3) / 20),
  type: "float",
});
const attributes = (K: number, N: number, bits: number, block: number) => ({
  K: int(K),
  N: int(N),
  bits: int(bits),
  block_size: int(block),
});
const floatOnly = "ONNX Runtime has it in float and float16 alone";

/** Operators of ONNX Runtime whose weights are stored in blocks of a few bits, each with a scale. */
export const blockQuantized = {
  // Y = X·Wᵀ + b with W[n, k] = (q[n, k] − zero[n, ⌊k/block⌋])·scale[n, ⌊k/block⌋]: dX = dY·W, db = dY; with dW = dYᵀ·X,
  // dscale = Σ over a block of dW·(q − zero) and dzero = −scale·Σ dW
  "com.microsoft.MatMulNBits": {
    vjp: (context, dy, g) => {
      const { rows, block, blocks, columns, dequantized, zeros } = blockWeight(context, g);
      const x = context.input(0);
      const width = dimAt(x.shape, -1);
      const scale = () => g.reshape(context.input(2), [rows, blocks]);
      const weightSums = (times?: Typed) => {
        const dW = g.gemm(asRows(g, dy), asRows(g, x), { transA: true });
        const filled = g.pad(dW, [0, 0, 0, columns - width]);
        return sumOverBlocks(g, times ? g.mul(filled, times) : filled, 1, block);
      };
      return [
        () => {
          const product = g.matMul(dy, dequantized(whenArrived(g, scale(), dy)));
          const lead = product.shape.slice(0, -1);
          const shift = zeros && g.matMul(dy, g.mul(zeros, scale()));
          const shifted = shift
            ? g.sub(g.reshape(product, [...lead, blocks, block]), g.reshape(shift, [...lead, blocks, 1]))
            : product;
          const whole = g.reshape(shifted, product.shape);
          return width === columns ? whole : g.slice(whole, [{ axis: lead.length, start: 0, length: width }]);
        },
        null,
        () => {
          const ones = g.filled(1, [rows, blocks], dy.type);
          const sums = weightSums(dequantized(whenArrived(g, ones, dy)));
          const centered = zeros ? g.sub(sums, g.mul(weightSums(), zeros)) : sums;
          return g.reshape(centered, context.input(2).shape);
        },
        zeros ? () => g.reshape(g.neg(g.mul(scale(), weightSums())), context.input(3).shape) : null,
        null,
        () => dy,
      ];
    },
    samples: [
      {
        inputs: [[2, 3, 32], bytes([4, 2, 8], 5), scales(4, 2)],
        attributes: attributes(32, 4, 4, 16),
        opset: 21,
        floatOnly,
      },
      {
        inputs: [[2, 40], bytes([3, 3, 8], 9), scales(3, 3), bytes([3, 2], 0x47), null, [3]],
        attributes: attributes(40, 3, 4, 16),
        opset: 21,
        floatOnly,
        note: "a part of a block, zero points, bias",
      },
      {
        inputs: [[3, 32], bytes([4, 2, 8], 3), fixed([8]), { shape: [4, 2], range: [4, 9] }],
        attributes: attributes(32, 4, 4, 16),
        opset: 21,
        floatOnly,
        note: "zero points of floats",
      },
      {
        inputs: [[2, 40], bytes([3, 3, 16], 5), fixed([3, 3]), bytes([3, 3], 120)],
        attributes: attributes(40, 3, 8, 16),
        opset: 21,
        floatOnly,
        note: "bytes",
      },
      {
        inputs: [[2, 32], bytes([3, 1, 32], 5), fixed([3, 1])],
        attributes: attributes(32, 3, 8, 32),
        opset: 21,
        floatOnly,
        note: "bytes without zero points",
      },
      {
        inputs: [[2, 40], bytes([3, 3, 4], 5), fixed([3, 3]), bytes([3, 1], 0x64)],
        attributes: attributes(40, 3, 2, 16),
        opset: 21,
        floatOnly,
        note: "two bits",
      },
    ],
    linear: true,
  },

  // y = (q[i] − zero[i])·scale[i] for rows i: only the scales have a gradient, Σ over a block of dy·(q − zero), added where read
  "com.microsoft.GatherBlockQuantized": {
    vjp: (context, dy, g) => [
      null,
      null,
      () => {
        const { node } = context;
        const [data, indices, scale, zero] = [
          context.input(0),
          context.input(1),
          context.input(2),
          context.inputs[3],
        ];
        const { type, shape } = scale;
        const [axis, along] = [
          normalizeAxis(node.int("gather_axis", 0), data.shape.length),
          normalizeAxis(node.int("quantize_axis", 1), data.shape.length),
        ];
        const levels = g.op(
          "GatherBlockQuantized",
          [data, indices, g.filled(1, shape, type), ...(zero ? [zero] : [])],
          dy.shape,
          { type, domain: node.domain, attributes: Object.fromEntries(node.attributes) },
        );
        const moved = along > axis ? along + indices.shape.length - 1 : along;
        const sums = sumOverBlocks(g, g.mul(dy, levels), moved, node.int("block_size", 128));
        return addedWhereRead(g, sums, shape, axis, indices);
      },
      null,
    ],
    samples: [
      {
        inputs: [bytes([4, 16], 7), { shape: [2, 2], constant: [2, 0, 3, 2] }, scales(4, 2)],
        attributes: { gather_axis: int(0), quantize_axis: int(1), block_size: int(16) },
        floatOnly,
      },
      {
        inputs: [bytes([3, 20], 7), { shape: [2], constant: [2, 1] }, scales(3, 3), bytes([3, 2], 0x53)],
        attributes: { gather_axis: int(0), quantize_axis: int(-1), block_size: int(16) },
        floatOnly,
        note: "a part of a block, zero points",
      },
    ],
    linear: true,
  },
} satisfies RuleTable;
