import { readFileSync } from "node:fs";
import type { DataTypeName } from "../../src/onnx/data-types.ts";
import { Tensor, viewOf } from "../../src/onnx/tensor.ts";

/** The content of a .safetensors file. */
export interface SafeTensors {
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

const types: Readonly<Record<string, DataTypeName>> = {
  F32: "float",
  F64: "double",
  I64: "int64",
  I32: "int32",
  BOOL: "bool",
};

/** Reads a .safetensors file: 8 bytes of header length, a header of JSON, then raw little-endian data. */
export function readSafeTensors(path: string): SafeTensors {
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<string, unknown>;
  const tensors = new Map<string, Tensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const {
      dtype,
      shape,
      data_offsets: offsets,
    } = entry as {
      dtype: string;
      shape: number[];
      data_offsets: [number, number];
    };
    const type = types[dtype];
    if (!type) throw new Error(`${path}: ${name} has the type ${dtype}`);
    const [start, end] = offsets.map((offset) => 8 + length + offset);
    tensors.set(name, Tensor.of(name, type, shape, viewOf(type, bytes.subarray(start, end))));
  }
  return { tensors, metadata: (header.__metadata__ ?? {}) as Record<string, string> };
}
