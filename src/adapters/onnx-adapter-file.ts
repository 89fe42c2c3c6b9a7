import { Builder, type Offset } from "flatbuffers";
import { FlatbufferTable, tensorIn } from "../artifacts/flatbuffer-table.ts";
import { checkBytes } from "../check-arguments.ts";
import { FileError, messageOf, UsageError } from "../errors.ts";
import { DataType } from "../onnx/data-types.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { type Adapter, type AdapterLayer, defaultRank } from "./adapter.ts";
import { kindOfParts } from "./kinds.ts";
import { matricesIn } from "./lora-layer.ts";

/** File identifier and field numbers of onnxruntime/lora/adapter_format/adapter_schema.fbs. */
const identifier = "TORT";
const version = 1;
const fields = {
  adapter: { format: 0, adapter: 1, model: 2, parameters: 3 },
  parameter: { name: 0, dims: 1, type: 2, data: 3 },
} as const;

/** Whether a file's name says that it is an adapter of ONNX Runtime. */
export const isOnnxAdapter = (path: string): boolean => /\.onnx_adapter$/i.test(path);

/** Writes parameters as ONNX Runtime's `LoraAdapter` loads them, by the names of the graph's inputs. */
export function encodeParameters(parameters: readonly Tensor[]): Uint8Array {
  const b = new Builder(parameters.reduce((sum, { bytes }) => sum + bytes.length + 256, 1024));
  const offsets = parameters.map((tensor) => writeParameter(b, tensor));
  b.startVector(4, offsets.length, 4);
  for (const offset of offsets.reverse()) b.addOffset(offset);
  const list = b.endVector();
  b.startObject(4);
  b.addFieldInt32(fields.adapter.format, version, 0);
  b.addFieldInt32(fields.adapter.adapter, 1, 0);
  b.addFieldInt32(fields.adapter.model, 1, 0);
  b.addFieldOffset(fields.adapter.parameters, list, 0);
  b.finish(b.endObject(), identifier);
  return b.asUint8Array().slice();
}

function writeParameter(b: Builder, { name: text, type, dims: shape, bytes }: Tensor): Offset {
  // The schema aligns the numbers to 8 bytes.
  b.prep(8, bytes.length);
  const data = b.createByteVector(bytes);
  b.startVector(8, shape.length, 8);
  for (const dim of [...shape].reverse()) b.addInt64(BigInt(dim));
  const dims = b.endVector();
  const name = b.createString(text);
  b.startObject(4);
  b.addFieldOffset(fields.parameter.name, name, 0);
  b.addFieldOffset(fields.parameter.dims, dims, 0);
  b.addFieldInt32(fields.parameter.type, DataType[type], 0);
  b.addFieldOffset(fields.parameter.data, data, 0);
  return b.endObject();
}

/**
 * Reads the parameters of an adapter of ONNX Runtime.
 * @throws SorthError for a damaged file, or one of another kind
 */
export function decodeParameters(bytes: Uint8Array, where: string): Tensor[] {
  checkBytes("the contents of an adapter", bytes);
  if (new TextDecoder("latin1").decode(bytes.subarray(4, 8)) !== identifier) {
    throw new FileError(`${where} is no adapter of ONNX Runtime (.onnx_adapter)`);
  }
  try {
    const root = FlatbufferTable.rootOf(bytes);
    const found = root.int32(fields.adapter.format);
    if (found !== version)
      throw new RangeError(`it has version ${found} of the format, this program reads ${version}`);
    return (root.tables(fields.adapter.parameters) ?? []).map((table) => tensorIn(table, fields.parameter));
  } catch (error) {
    throw new FileError(`${where} is a damaged adapter of ONNX Runtime (${messageOf(error)})`);
  }
}

/**
 * Reads an adapter from ONNX Runtime's format, as `encodeOnnxAdapter` writes it: its B holds the scaling, so alpha is the rank.
 * Its modules are named by their weights.
 * @param where - the file's name, for messages
 * @throws SorthError for a damaged file; UsageError for parameters of other names
 */
export function decodeOnnxAdapter(bytes: Uint8Array, where = "the adapter"): Adapter {
  const parts = new Map<string, Record<string, Tensor>>();
  for (const tensor of decodeParameters(bytes, where)) {
    // Where the graph has such a name, ours ends in a number.
    const [, module, part] =
      /^(.+)\.(lora_(?:embedding_)?[AB]|lora_magnitude_vector|ia3_l|ia3_l_input)(?:_\d+)?$/.exec(
        tensor.name,
      ) ?? [];
    if (module === undefined || part === undefined) {
      throw new UsageError(
        `${where} has a parameter "${tensor.name}"; those of this program are called <weight>.lora_A and <weight>.lora_B, or <weight>.ia3_l, for others the graph that takes them is needed`,
      );
    }
    if (parts.get(module)?.[part]) throw new FileError(`${where} has two parameters ${part} of "${module}"`);
    parts.set(module, { ...parts.get(module), [part]: tensor });
  }
  const kinds = new Set([...parts.values()].map(kindOfParts));
  const [kind] = kinds;
  if (!kind) throw new FileError(`${where} holds no parameters`);
  if (kinds.size > 1) {
    const names = [...kinds].map(({ name }) => name).join(" and ");
    throw new FileError(`${where} has the parameters of ${names}, each for some of its layers only`);
  }
  const layers = [...parts].map(([module, tensors]): AdapterLayer => {
    const rank = matricesIn(tensors).down?.dims[0] ?? 0;
    const layer = kind.layerFrom(module, rank, tensors);
    if (layer) return layer;
    throw new FileError(`${where} has only one of lora_A and lora_B for "${module}"`);
  });
  const rank = layers[0]?.down?.dims[0] ?? defaultRank;
  return { rank, alpha: rank, scaling: "lora", dropout: 0, ...kind.asked, layers, saved: new Map() };
}
