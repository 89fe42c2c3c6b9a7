import { decodeModelProto } from "./codec.ts";
import { tensorsOf } from "./external.ts";
import { Model } from "./model.ts";
import { externalReference, Tensor } from "./tensor.ts";

/**
 * The same model with its external data inside, for an ONNX Runtime that gets bytes instead of a path.
 * @throws SorthError when a file cannot be read.
 */
export function inlineExternal(model: Model): Model {
  if (model.externalLocations.size === 0) return model;
  // A message of its own: the model's is never changed.
  const proto = decodeModelProto(model.bytes);
  for (const tensor of tensorsOf(proto)) {
    if (!externalReference(tensor)) continue;
    tensor.rawData = Tensor.fromProto(tensor, model.external).bytes;
    tensor.externalData = [];
    tensor.dataLocation = null;
  }
  return Model.fromProto(proto);
}
