import Long from "long";
import { onnx } from "../onnx/schema.js";
import type { ExternalReader } from "../onnx/tensor.ts";
import { Tensor } from "../onnx/tensor.ts";

const kinds = onnx.AttributeProto.AttributeType;
const decoder = new TextDecoder();
const encoder = new TextEncoder();

/**
 * A node's attribute. Kinds that this program does not interpret (sparse tensors, types, references inside functions) are
 * `other` and keep their message.
 */
export type Attribute =
  | { readonly kind: "float"; readonly value: number }
  | { readonly kind: "int"; readonly value: number }
  | { readonly kind: "string"; readonly value: string }
  | { readonly kind: "tensor"; readonly value: Tensor }
  | { readonly kind: "floats"; readonly value: readonly number[] }
  | { readonly kind: "ints"; readonly value: readonly number[] }
  | { readonly kind: "strings"; readonly value: readonly string[] }
  | { readonly kind: "graph"; readonly value: onnx.GraphProto.$Properties }
  | { readonly kind: "other"; readonly value: onnx.AttributeProto.$Properties };

/** An integer attribute. */
export const int = (value: number): Attribute => ({ kind: "int", value });
/** A float attribute. */
export const float = (value: number): Attribute => ({ kind: "float", value });
/** A list of floats. */
export const floats = (value: readonly number[]): Attribute => ({ kind: "floats", value });
/** A list of integers. */
export const ints = (value: readonly number[]): Attribute => ({ kind: "ints", value });
/** A text attribute. */
export const string = (value: string): Attribute => ({ kind: "string", value });
/** A tensor attribute. */
export const tensor = (value: Tensor): Attribute => ({ kind: "tensor", value });

const toNumber = (value: Long | number): number => Long.fromValue(value).toNumber();

/** The kind of an attribute message; files older than IR 2 omit the field `type`. */
function kindOf(proto: onnx.AttributeProto.$Properties): onnx.AttributeProto.AttributeType {
  if (proto.type) return proto.type;
  if (proto.t) return kinds.TENSOR;
  if (proto.g) return kinds.GRAPH;
  if (proto.floats?.length) return kinds.FLOATS;
  if (proto.ints?.length) return kinds.INTS;
  if (proto.strings?.length) return kinds.STRINGS;
  if (proto.s?.length) return kinds.STRING;
  if (proto.f) return kinds.FLOAT;
  return kinds.INT;
}

/** Reads an attribute message. */
export function attributeFromProto(
  proto: onnx.AttributeProto.$Properties,
  external?: ExternalReader,
): Attribute {
  if (proto.refAttrName) return { kind: "other", value: proto };
  switch (kindOf(proto)) {
    case kinds.FLOAT:
      return float(proto.f ?? 0);
    case kinds.INT:
      return int(toNumber(proto.i ?? 0));
    case kinds.STRING:
      return string(decoder.decode(proto.s ?? new Uint8Array()));
    case kinds.TENSOR:
      return tensor(Tensor.fromProto(proto.t ?? {}, external));
    case kinds.GRAPH:
      return { kind: "graph", value: proto.g ?? {} };
    case kinds.FLOATS:
      return { kind: "floats", value: proto.floats ?? [] };
    case kinds.INTS:
      return ints((proto.ints ?? []).map(toNumber));
    case kinds.STRINGS:
      return { kind: "strings", value: (proto.strings ?? []).map((s) => decoder.decode(s)) };
    default:
      return { kind: "other", value: proto };
  }
}

/** Writes an attribute as a message. */
export function attributeToProto(name: string, attribute: Attribute): onnx.AttributeProto.$Properties {
  switch (attribute.kind) {
    case "float":
      return new onnx.AttributeProto({ name, type: kinds.FLOAT, f: attribute.value });
    case "int":
      return new onnx.AttributeProto({ name, type: kinds.INT, i: Long.fromNumber(attribute.value) });
    case "string":
      return new onnx.AttributeProto({ name, type: kinds.STRING, s: encoder.encode(attribute.value) });
    case "tensor":
      return new onnx.AttributeProto({ name, type: kinds.TENSOR, t: attribute.value.toProto() });
    case "floats":
      return new onnx.AttributeProto({ name, type: kinds.FLOATS, floats: [...attribute.value] });
    case "ints":
      return new onnx.AttributeProto({
        name,
        type: kinds.INTS,
        ints: attribute.value.map((v) => Long.fromNumber(v)),
      });
    case "strings":
      return new onnx.AttributeProto({
        name,
        type: kinds.STRINGS,
        strings: attribute.value.map((s) => encoder.encode(s)),
      });
    case "graph":
      return new onnx.AttributeProto({ name, type: kinds.GRAPH, g: attribute.value });
    case "other":
      return attribute.value;
  }
}
