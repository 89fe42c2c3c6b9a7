import { Tensor as OrtTensor } from "onnxruntime-common";
import { RuntimeError } from "../errors.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import { Tensor, type TensorData } from "../onnx/tensor.ts";
import { boundTypes } from "../onnx/tensor-data.ts";

/** ONNX Runtime's names for element types, where they differ from ONNX's. */
const ortNames: Partial<Record<DataTypeName, OrtTensor.Type>> = { float: "float32", double: "float64" };

/** Whether ONNX Runtime's JavaScript bindings can feed and fetch tensors of this type (bfloat16, float8: no). */
export function crossesTheBinding(type: DataTypeName): boolean {
  return type === "string" || boundTypes.has(type);
}

/** The ONNX name of one of ONNX Runtime's element types (`float32` → `float`). */
export function dataTypeOf(type: string): DataTypeName {
  if (type === "float32") return "float";
  if (type === "float64") return "double";
  return type as DataTypeName;
}

/**
 * Converts a tensor to ONNX Runtime's class; the numbers are shared, not copied. @throws SorthError for a type that it does
 * not accept.
 */
export function toOrtTensor(tensor: Tensor): OrtTensor {
  const { type, dims, data } = tensor;
  if (!crossesTheBinding(type)) {
    throw new RuntimeError(
      `ONNX Runtime's JavaScript binding cannot take "${tensor.name}": its type is ${type}`,
    );
  }
  if (type === "string") {
    const decoder = new TextDecoder();
    return new OrtTensor(
      "string",
      (data as readonly Uint8Array[]).map((bytes) => decoder.decode(bytes)),
      dims,
    );
  }
  return new OrtTensor(ortNames[type] ?? (type as OrtTensor.Type), data as OrtTensor.DataType, dims);
}

/** Converts a tensor that ONNX Runtime returned; the numbers are shared, not copied. */
export function fromOrtTensor(name: string, tensor: OrtTensor): Tensor {
  const type = dataTypeOf(tensor.type);
  if (type === "string") {
    const encoder = new TextEncoder();
    const texts = tensor.data as readonly string[];
    return Tensor.of(
      name,
      type,
      tensor.dims,
      texts.map((text) => encoder.encode(text)),
    );
  }
  return Tensor.of(name, type, tensor.dims, tensor.data as TensorData);
}
