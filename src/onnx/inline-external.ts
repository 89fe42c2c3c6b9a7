import { decodeModelProto } from "./codec.ts";
import { tensorsOf } from "./external.ts";
import { Model } from "./model.ts";
import { externalReference, Tensor } from "./tensor.ts";

/**
 * The same model with its external data stored inside, for an ONNX Runtime session that is created from bytes.
 * @param initializersStay - only what lies in attributes and bodies is stored inside
 * @throws SorthError when an external data file cannot be read
 */
export function inlineExternal(model: Model, { initializersStay = false } = {}): Model {
  if (model.externalLocations.size === 0) return model;
  // Decode a copy, because a model's own message must not change.
  const proto = decodeModelProto(model.bytes);
  const stay = new Set(initializersStay ? proto.graph?.initializer : []);
  const moved = [...tensorsOf(proto)].filter((tensor) => externalReference(tensor) && !stay.has(tensor));
  if (moved.length === 0) return model;
  for (const tensor of moved) {
    tensor.rawData = Tensor.fromProto(tensor, model.external).bytes;
    tensor.externalData = [];
    tensor.dataLocation = null;
  }
  return Model.fromProto(proto, initializersStay ? model : {});
}
