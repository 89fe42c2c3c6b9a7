import { Model } from "./model.ts";
import { onnx } from "./schema.js";
import { chunkSize, storedBytes } from "./stored.ts";
import { externalReference, largeBytes } from "./tensor.ts";

/** Number of bytes of a model's initializers that lie in files. */
export const bytesInFiles = ({ proto }: Model): number =>
  (proto.graph?.initializer ?? []).reduce((sum, tensor) => {
    const stored = storedBytes(tensor);
    return sum + (stored ? chunkSize(stored) : (externalReference(tensor)?.length ?? 0));
  }, 0);

/**
 * The same model whose large weights in another model's own file are external data: it names that file, and their place in it.
 * So a session maps them, and neither this process nor ONNX Runtime holds a copy.
 *
 * @param folder - of that file, in the form in which the model's path names it
 */
export function withWeightsInFile(model: Model, folder: (path: string) => string): Model {
  const initializers = model.proto.graph?.initializer ?? [];
  const own = model.path === undefined ? undefined : folder(model.path);
  const moved = initializers.map((tensor) => {
    const stored = storedBytes(tensor);
    if (!stored || chunkSize(stored) < largeBytes) return tensor;
    const { file, start: offset } = stored;
    if (folder(file.path) !== own || !file.isAtPath()) return tensor;
    const entries = { location: file.path.split(/[\\/]/).at(-1), offset, length: chunkSize(stored) };
    return new onnx.TensorProto({
      ...{ name: tensor.name ?? "", dataType: tensor.dataType ?? 0, dims: tensor.dims ?? [] },
      dataLocation: onnx.TensorProto.DataLocation.EXTERNAL,
      externalData: Object.entries(entries).map(([key, value]) => ({ key, value: `${value}` })),
    });
  });
  if (moved.every((tensor, i) => tensor === initializers[i])) return model;
  const proto = { ...model.proto, graph: { ...model.proto.graph, initializer: moved } };
  return Model.fromProto(proto as onnx.ModelProto, model);
}
