import { decodeModelProto, encodeModelProto } from "./codec.ts";
import { externalLocations } from "./external.ts";
import type { onnx } from "./schema.js";
import type { ExternalReader } from "./tensor.ts";

/** Where a model came from, as far as it matters for data that lies in other files. */
export interface ModelSource {
  /** The file it was read from; external data lies beside it. */
  readonly path?: string;
  /** Reads tensors that lie in other files. */
  readonly external?: ExternalReader;
}

/**
 * An ONNX model: the bytes of its file and, once asked for, its messages. A model that was edited by splicing is a list
 * of views of the original bytes with new bytes between them, so that it costs no second copy.
 * A model is never changed: editing makes another one.
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

  /** The model of a file's bytes. They are kept, not copied, and decoded when first needed. */
  static fromBytes(bytes: Uint8Array, source: ModelSource = {}): Model {
    return new Model({ chunks: [bytes] }, source);
  }

  /** The model of a message, which must not be changed afterwards. It is encoded when its bytes are first needed. */
  static fromProto(proto: onnx.ModelProto, source: ModelSource = {}): Model {
    return new Model({ proto }, source);
  }

  /** The model that `base` becomes by splicing: its bytes in pieces. Names the same external files as `base`. */
  static spliced(chunks: readonly Uint8Array[], base: Model): Model {
    return new Model({ chunks, locations: () => base.externalLocations }, base);
  }

  /** The bytes in pieces, in order. */
  get chunks(): readonly Uint8Array[] {
    this.#chunks ??= [encodeModelProto(this.proto)];
    return this.#chunks;
  }

  /** The bytes in one piece; pieces are joined when first asked for and then let go. */
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

  /** The messages; raw tensor data is a view of {@link Model.bytes}. @throws SorthError when they cannot be decoded. */
  get proto(): onnx.ModelProto {
    this.#proto ??= decodeModelProto(this.bytes);
    return this.#proto;
  }

  /** Names of the files that hold tensors of this model, relative to its folder. */
  get externalLocations(): ReadonlySet<string> {
    const locations = this.#locations();
    this.#locations = () => locations;
    return locations;
  }
}

/**
 * The model of a file's bytes, decoded at once.
 * @throws SorthError when they are not an ONNX model.
 */
export function decodeModel(bytes: Uint8Array, source: ModelSource = {}): Model {
  const model = Model.fromBytes(bytes, source);
  void model.proto;
  return model;
}

/** The bytes of a model's file. */
export function encodeModel(model: Model): Uint8Array {
  return model.bytes;
}
