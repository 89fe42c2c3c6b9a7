import type { Model } from "./model.ts";
import { chunkSize, storedBytes } from "./stored.ts";
import { externalReference } from "./tensor.ts";

/** Number of bytes of a model's initializers that lie in files. */
export const bytesInFiles = ({ proto }: Model): number =>
  (proto.graph?.initializer ?? []).reduce((sum, tensor) => {
    const stored = storedBytes(tensor);
    return sum + (stored ? chunkSize(stored) : (externalReference(tensor)?.length ?? 0));
  }, 0);
