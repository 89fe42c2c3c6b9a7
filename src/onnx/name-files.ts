import { Model, type ModelSource } from "./model.ts";
import { onnx } from "./schema.js";
import { chunkSize, type StoredFile, storedBytes } from "./stored.ts";
import { externalReference, largeBytes } from "./tensor.ts";

/** The files in which large weights of a model lie that are no external data: its own file, and those of its teacher. */
export const filesOfWeights = ({ proto }: Model): Set<StoredFile> =>
  new Set(
    (proto.graph?.initializer ?? []).flatMap((tensor) => {
      const stored = storedBytes(tensor);
      return stored && chunkSize(stored) >= largeBytes ? [stored.file] : [];
    }),
  );

/**
 * The same model whose large weights in {@link filesOfWeights} are external data: it names the file, and their place in it.
 * So a session reads them from there, and neither this process nor ONNX Runtime holds a copy.
 *
 * @param place - where a session finds a file; undefined for one that it cannot read
 * @param within - prefix of the names of the model's own external data
 */
export function withWeightsInFiles(
  model: Model,
  place: (file: StoredFile) => string | undefined,
  { within = "", source = model }: { readonly within?: string; readonly source?: ModelSource } = {},
): Model {
  const initializers = model.proto.graph?.initializer ?? [];
  const moved = initializers.map((tensor) => {
    const stored = storedBytes(tensor);
    if (stored && chunkSize(stored) >= largeBytes) {
      const location = place(stored.file);
      return location === undefined
        ? tensor
        : outside(tensor, { location, offset: stored.start, length: chunkSize(stored) });
    }
    const reference = within === "" ? undefined : externalReference(tensor);
    return reference ? outside(tensor, { ...reference, location: `${within}${reference.location}` }) : tensor;
  });
  if (moved.every((tensor, i) => tensor === initializers[i])) return model;
  const proto = { ...model.proto, graph: { ...model.proto.graph, initializer: moved } };
  return Model.fromProto(proto as onnx.ModelProto, source);
}

/** A tensor's message whose numbers lie in a file. */
const outside = (
  { name, dataType, dims }: onnx.TensorProto.$Properties,
  entries: Readonly<Record<string, string | number>>,
): onnx.TensorProto =>
  new onnx.TensorProto({
    ...{ name: name ?? "", dataType: dataType ?? 0, dims: dims ?? [] },
    dataLocation: onnx.TensorProto.DataLocation.EXTERNAL,
    externalData: Object.entries(entries).map(([key, value]) => ({ key, value: `${value}` })),
  });
