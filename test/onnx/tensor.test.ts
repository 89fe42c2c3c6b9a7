import Long from "long";
import { describe, expect, it } from "vitest";
import { bitsPerElement, DataType, type DataTypeName } from "../../src/onnx/data-types.ts";
import { onnx } from "../../src/onnx/schema.js";
import { decodedNumbers, numberToFloat16 } from "../../src/onnx/small-types.ts";
import { Tensor } from "../../src/onnx/tensor.ts";

const proto = (type: DataTypeName, dims: number[], fields: onnx.TensorProto.$Properties): onnx.TensorProto =>
  new onnx.TensorProto({
    name: "t",
    dataType: DataType[type],
    dims: dims.map((dim) => Long.fromNumber(dim)),
    ...fields,
  });

/** The same three (or so) numbers as raw little-endian data and in the typed fields, for every data type. */
const cases: {
  type: DataTypeName;
  values: number[];
  raw: number[];
  fields: onnx.TensorProto.$Properties;
  dims?: number[];
}[] = [
  { type: "float", values: [1, -2], raw: [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0], fields: { floatData: [1, -2] } },
  { type: "double", values: [-2], raw: [0, 0, 0, 0, 0, 0, 0, 0xc0], fields: { doubleData: [-2] } },
  { type: "int8", values: [1, -1, -128], raw: [1, 255, 128], fields: { int32Data: [1, -1, -128] } },
  { type: "uint8", values: [1, 255], raw: [1, 255], fields: { int32Data: [1, 255] } },
  { type: "bool", values: [1, 0], raw: [1, 0], fields: { int32Data: [1, 0] } },
  { type: "int16", values: [-2, 258], raw: [254, 255, 2, 1], fields: { int32Data: [-2, 258] } },
  { type: "uint16", values: [65534, 258], raw: [254, 255, 2, 1], fields: { int32Data: [65534, 258] } },
  { type: "int32", values: [-2], raw: [254, 255, 255, 255], fields: { int32Data: [-2] } },
  {
    type: "uint32",
    values: [2 ** 32 - 2],
    raw: [254, 255, 255, 255],
    fields: { uint64Data: [Long.fromNumber(2 ** 32 - 2, true)] },
  },
  {
    type: "int64",
    values: [-2],
    raw: [254, ...Array(7).fill(255)],
    fields: { int64Data: [Long.fromNumber(-2)] },
  },
  {
    type: "uint64",
    values: [2 ** 63],
    raw: [...Array(7).fill(0), 128],
    fields: { uint64Data: [Long.fromString("9223372036854775808", true)] },
  },
  {
    type: "complex64",
    dims: [1],
    values: [1, -2],
    raw: [0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0],
    fields: { floatData: [1, -2] },
  },
  {
    type: "complex128",
    dims: [1],
    values: [0, -2],
    raw: [...Array(15).fill(0), 0xc0],
    fields: { doubleData: [0, -2] },
  },
  {
    type: "float16",
    values: [1, -0.5, 65504],
    raw: [0, 0x3c, 0, 0xb8, 0xff, 0x7b],
    fields: { int32Data: [0x3c00, 0xb800, 0x7bff] },
  },
  {
    type: "bfloat16",
    values: [1, -3],
    raw: [0x80, 0x3f, 0x40, 0xc0],
    fields: { int32Data: [0x3f80, 0xc040] },
  },
  {
    type: "float8e4m3fn",
    values: [1, -448, 2 ** -9],
    raw: [0x38, 0xfe, 0x01],
    fields: { int32Data: [0x38, 0xfe, 0x01] },
  },
  { type: "float8e4m3fnuz", values: [1, 240], raw: [0x40, 0x7f], fields: { int32Data: [0x40, 0x7f] } },
  { type: "float8e5m2", values: [1, -57344], raw: [0x3c, 0xfb], fields: { int32Data: [0x3c, 0xfb] } },
  { type: "float8e5m2fnuz", values: [1, 57344], raw: [0x40, 0x7f], fields: { int32Data: [0x40, 0x7f] } },
  { type: "float8e8m0", values: [1, 2 ** -127], raw: [127, 0], fields: { int32Data: [127, 0] } },
  { type: "uint4", values: [1, 15, 7], raw: [0xf1, 0x07], fields: { int32Data: [0xf1, 0x07] } },
  { type: "int4", values: [1, -1, -8], raw: [0xf1, 0x08], fields: { int32Data: [0xf1, 0x08] } },
  { type: "float4e2m1", values: [0.5, -6, 1.5], raw: [0xf1, 0x03], fields: { int32Data: [0xf1, 0x03] } },
  { type: "uint2", values: [0, 1, 2, 3, 1], raw: [0b11100100, 1], fields: { int32Data: [0b11100100, 1] } },
  { type: "int2", values: [0, 1, -2, -1, 1], raw: [0b11100100, 1], fields: { int32Data: [0b11100100, 1] } },
];

describe("tensors", () => {
  it("are covered for every data type", () => {
    const others = ["undefined", "string"];
    expect(new Set([...cases.map(({ type }) => type), ...others])).toEqual(new Set(Object.keys(DataType)));
  });

  it.each(cases)("of $type read raw data and typed fields alike", ({ type, values, raw, fields, dims }) => {
    const shape = dims ?? [values.length];
    const fromRaw = Tensor.fromProto(proto(type, shape, { rawData: Uint8Array.from(raw) }));
    const fromFields = Tensor.fromProto(proto(type, shape, fields));
    expect(fromRaw.numbers()).toEqual(values);
    expect(fromFields.numbers()).toEqual(values);
    expect([...fromRaw.bytes]).toEqual(raw);
    expect([...fromFields.bytes]).toEqual(raw);
    expect([...(fromFields.toProto().rawData ?? [])]).toEqual(raw);
  });

  it("read misaligned raw data", () => {
    const memory = new Uint8Array(13);
    memory.set(new Uint8Array(Float32Array.of(1, 2, 3).buffer), 1);
    expect(Tensor.fromProto(proto("float", [3], { rawData: memory.subarray(1) })).numbers()).toEqual([
      1, 2, 3,
    ]);
  });

  it("hold strings as bytes", () => {
    const text = [new Uint8Array([0xff]), new TextEncoder().encode("é")];
    const tensor = Tensor.fromProto(proto("string", [2], { stringData: text }));
    expect(tensor.data).toEqual(text);
    expect(tensor.toProto().stringData).toEqual(text);
    expect(() => tensor.numbers()).toThrow(/holds strings/);
  });

  it("say what is wrong with their size or type", () => {
    // At once, whatever it is read for: a shape that does not fit decides sizes of layers and blocks.
    const twelve = 'tensor "t" (float, shape [2, 2]) needs 16 bytes but holds 12';
    const nothing = 'tensor "t" (int4, shape [2, 2]) needs 2 bytes but holds 0';
    expect(() => Tensor.fromProto(proto("float", [2, 2], { rawData: new Uint8Array(12) }))).toThrow(twelve);
    expect(() => Tensor.fromProto(proto("float", [2, 2], { floatData: [1, 2, 3] }))).toThrow(twelve);
    expect(() => Tensor.fromProto(proto("int4", [2, 2], {}))).toThrow(nothing);
    expect(Tensor.fromProto(proto("float", [2, 0], {})).numbers()).toEqual([]);
    const strange = Tensor.fromProto(new onnx.TensorProto({ name: "t", dataType: 99 }));
    expect(() => strange.data).toThrow('tensor "t" has the unknown data type 99');
  });

  it("know the bits of every type", () => {
    for (const { type, values, raw, dims } of cases) {
      const count = dims?.[0] ?? values.length;
      expect(Math.ceil((bitsPerElement[type] * count) / 8)).toBe(raw.length);
    }
  });
});

describe("half floats", () => {
  it("survive the way to numbers and back, all of them", () => {
    const all = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
    const numbers = decodedNumbers("float16", all, all.length) ?? [];
    const back = numbers.map(numberToFloat16);
    const wrong = [...all].filter((bits, i) => !Number.isNaN(numbers[i]) && back[i] !== bits);
    expect(wrong).toEqual([]);
  });

  it("round to the nearest, ties to even", () => {
    expect(numberToFloat16(1 + 2 ** -11)).toBe(0x3c00);
    expect(numberToFloat16(1 + 3 * 2 ** -11)).toBe(0x3c02);
    expect(numberToFloat16(65519)).toBe(0x7bff);
    expect(numberToFloat16(65520)).toBe(0x7c00);
    expect(numberToFloat16(2 ** -25)).toBe(0);
    expect(numberToFloat16(Number.NaN)).toBe(0x7e00);
  });
});

it("integers of 64 bits: a double's 2^63 is the largest one, and fractions are refused", () => {
  expect(Tensor.int64("ends", [3], [-(2 ** 63), -1, 2 ** 63]).data).toEqual(
    BigInt64Array.of(-(2n ** 63n), -1n, 2n ** 63n - 1n),
  );
  expect(() => Tensor.int64("half", [1], [0.5])).toThrow(RangeError);
});
