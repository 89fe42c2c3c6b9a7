import { decodeModelProto } from "./codec.ts";
import { tensorsOf } from "./external.ts";
import { Model } from "./model.ts";
import { externalReference, Tensor } from "./tensor.ts";

/**
 * The same model with its external data stored inside, for an ONNX Runtime session that is created from bytes.
 * @throws SorthError when an external data file cannot be read
 */
export function inlineExternal(model: Model): Model {
  if (model.externalLocations.size === 0) return model;
  // Decode a copy, because a model's own message must not change.
  const proto = decodeModelProto(model.bytes);
  for (const tensor of tensorsOf(proto)) {
    if (!externalReference(tensor)) continue;
    tensor.rawData = Tensor.fromProto(tensor, model.external).bytes;
    tensor.externalData = [];
    tensor.dataLocation = null;
  }
  return Model.fromProto(proto);
}
