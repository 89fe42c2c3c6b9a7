import { decodeModelProto, encodeModelProto } from "./codec.ts";
import { externalLocations } from "./external.ts";
import type { onnx } from "./schema.js";
import type { ExternalReader } from "./tensor.ts";

/** The origin of a model, which locates its external data. */
export interface ModelSource {
  /** The model's file; external data lies in the same folder. */
  readonly path?: string;
  /** Reads tensors from external data files. */
  readonly external?: ExternalReader;
}

/**
 * An ONNX model: the bytes of its file and, decoded on demand, its protobuf messages. A model edited by splicing is a list
 * of views of the original bytes with new bytes between them, so it needs no second copy.
 * A model is immutable: editing makes a new one.
 *
 * @example
 * const model = await readModel("model.onnx");
 * model.proto.graph?.node?.length; // number of nodes
 */
export class Model {
  readonly path?: string;
  readonly external?: ExternalReader;
  #chunks: readonly Uint8Array[] | undefined;
  #proto: onnx.ModelProto | undefined;
  #locations: () => ReadonlySet<string>;

  private constructor(
    content: {
      chunks?: readonly Uint8Array[];
      proto?: onnx.ModelProto;
      locations?: () => ReadonlySet<string>;
    },
    source: ModelSource,
  ) {
    this.#chunks = content.chunks;
    this.#proto = content.proto;
    if (source.path !== undefined) this.path = source.path;
    if (source.external !== undefined) this.external = source.external;
    this.#locations = content.locations ?? (() => externalLocations(this.proto));
  }

  /** A model from the bytes of a file. Keeps the bytes without copying them and decodes them on first use. */
  static fromBytes(bytes: Uint8Array, source: ModelSource = {}): Model {
    return new Model({ chunks: [bytes] }, source);
  }

  /** A model from a message, which the caller must not change afterwards. Encodes it when its bytes are first needed. */
  static fromProto(proto: onnx.ModelProto, source: ModelSource = {}): Model {
    return new Model({ proto }, source);
  }

  /** A model spliced from `base`, given as pieces of bytes. It refers to the same external data files as `base`. */
  static spliced(chunks: readonly Uint8Array[], base: Model): Model {
    return new Model({ chunks, locations: () => base.externalLocations }, base);
  }

  /** The bytes in pieces, in order. */
  get chunks(): readonly Uint8Array[] {
    this.#chunks ??= [encodeModelProto(this.proto)];
    return this.#chunks;
  }

  /** The bytes of the file in one array. Joins the pieces on first use and then releases them. */
  get bytes(): Uint8Array {
    const chunks = this.chunks;
    const [first] = chunks;
    if (first && chunks.length === 1) return first;
    const joined = new Uint8Array(this.size);
    let offset = 0;
    for (const chunk of chunks) {
      joined.set(chunk, offset);
      offset += chunk.length;
    }
    this.#chunks = [joined];
    return joined;
  }

  /** Size of the file in bytes, without external data. */
  get size(): number {
    return this.chunks.reduce((size, chunk) => size + chunk.length, 0);
  }

  /** The decoded message; raw tensor data is a view of {@link Model.bytes}. @throws SorthError when decoding fails */
  get proto(): onnx.ModelProto {
    this.#proto ??= decodeModelProto(this.bytes);
    return this.#proto;
  }

  /** Names of the model's external data files, relative to its folder. */
  get externalLocations(): ReadonlySet<string> {
    const locations = this.#locations();
    this.#locations = () => locations;
    return locations;
  }
}

/**
 * A model from the bytes of a file, decoded immediately.
 * @throws SorthError when the bytes are not an ONNX model
 */
export function decodeModel(bytes: Uint8Array, source: ModelSource = {}): Model {
  const model = Model.fromBytes(bytes, source);
  void model.proto;
  return model;
}

/** The bytes of an ONNX file that holds the model. */
export function encodeModel(model: Model): Uint8Array {
  return model.bytes;
}
