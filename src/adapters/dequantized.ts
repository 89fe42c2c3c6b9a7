import { constantTensor } from "../analysis/probe-model.ts";
import type { Node, Value } from "../graph/node.ts";
import { isFloat } from "../onnx/data-types.ts";
import type { Tensor } from "../onnx/tensor.ts";

/** What a DequantizeLinear of constants computes: (q − zero)·scale, with one scale, one for each index of an axis, or for each block. */
export function dequantized(node: Node): Float64Array {
  const [x, scales, zeros] = node.inputs.map(tensorOf);
  if (!x || !scales) return new Float64Array();
  const { dims } = x;
  const axis = node.int("axis", 1);
  const at = axis < 0 ? axis + dims.length : axis;
  const inner = dims.slice(at + 1).reduce((a, b) => a * b, 1);
  const length = dims[at] ?? 1;
  const [scale, zero] = [scales.numbers(), zeros?.numbers()];
  const block = node.int("block_size", 0);
  const blocks = block === 0 ? 1 : Math.ceil(length / block);
  const placeOf = (i: number): number => {
    if (scale.length === 1) return 0;
    const index = Math.floor(i / inner) % length;
    if (block === 0) return index;
    return (Math.floor(i / (inner * length)) * blocks + Math.floor(index / block)) * inner + (i % inner);
  };
  return Float64Array.from(x.numbers(), (level, i) => {
    const place = placeOf(i);
    return (Number(level) - Number(zero?.[place] ?? 0)) * Number(scale[place]);
  });
}

/**
 * The weight of a MatMulNBits, [N, K]: levels of a few bits, in blocks along K with one scale and one zero point each; without zero
 * points these are the middle of the levels.
 */
export function dequantizedBlocks(node: Node): Float64Array {
  const [units, fanIn, bits] = [node.int("N", 0), node.int("K", 0), node.int("bits", 4)];
  const block = node.int("block_size", 32);
  const blocks = Math.ceil(fanIn / block);
  const [, weight, scales, zeros] = node.inputs.map(tensorOf);
  if (!weight || !scales) return new Float64Array();
  const level = levelsOf(weight.bytes, (blocks * block * bits) / 8, bits);
  const scale = scales.numbers();
  const packed =
    zeros && !isFloat(zeros.type) ? levelsOf(zeros.bytes, Math.ceil((blocks * bits) / 8), bits) : undefined;
  const floats = zeros && isFloat(zeros.type) ? zeros.numbers() : undefined;
  const result = new Float64Array(units * fanIn);
  for (let unit = 0, i = 0; unit < units; unit++) {
    for (let k = 0; k < fanIn; k++, i++) {
      const column = Math.floor(k / block);
      const place = unit * blocks + column;
      const zero = packed?.(unit, column) ?? floats?.[place] ?? 2 ** (bits - 1);
      result[i] = (level(unit, k) - Number(zero)) * Number(scale[place]);
    }
  }
  return result;
}

const tensorOf = (value: Value | null): Tensor | undefined => (value ? constantTensor(value) : undefined);

/** Reads numbers of `bits` bits, the lowest first, in rows of `stride` bytes. */
const levelsOf =
  (bytes: Uint8Array, stride: number, bits: number) =>
  (row: number, index: number): number =>
    ((bytes[row * stride + ((index * bits) >> 3)] ?? 0) >> ((index * bits) & 7)) & (2 ** bits - 1);
