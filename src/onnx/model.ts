import { checkBytes } from "../check-arguments.ts";
import { checkModel } from "./check-model.ts";
import { decodeModelProto } from "./codec.ts";
import { encodeInPieces } from "./encode-in-pieces.ts";
import { externalLocations } from "./external.ts";
import type { onnx } from "./schema.js";
import type { Skimmed } from "./skim.ts";
import { layoutOf, type ModelLayout } from "./splice.ts";
import { type Chunk, chunkBytes, chunkSize, joinChunks, type StoredFile } from "./stored.ts";
import type { ExternalReader } from "./tensor.ts";

/** Reads a file in pieces without the numbers of its large weights; undefined for one that has to be read as a whole. */
type Skim = (pieces: readonly Chunk[]) => Skimmed | undefined;

/** The origin of a model, which locates its external data. */
export interface ModelSource {
  /** The model's file; external data lies in the same folder. */
  readonly path?: string;
  /** Reads tensors from external data files. */
  readonly external?: ExternalReader;
  /**
   * The external data files by location, where they have no path: in a browser.
   * @internal
   */
  readonly files?: ReadonlyMap<string, Uint8Array | Blob>;
}

/** Whether a model's external data files are known, so that another model may refer to them and a session read them. */
export const knowsFiles = ({ path, files }: ModelSource): boolean => (path ?? files) !== undefined;

/**
 * An ONNX model: the bytes of its file and, decoded on demand, its protobuf messages. A model edited by splicing is a list
 * of views of the original bytes with new bytes between them, so it needs no second copy. Of a large file, the numbers of the
 * weights stay in the file.
 * A model is immutable: editing makes a new one.
 *
 * @example
 * const model = await readModel("model.onnx");
 * model.proto.graph?.node?.length; // number of nodes
 */
export class Model {
  readonly path?: string;
  readonly external?: ExternalReader;
  /** @internal */
  readonly files?: ReadonlyMap<string, Uint8Array | Blob>;
  #pieces: readonly Chunk[] | undefined;
  #proto: onnx.ModelProto | undefined;
  #skimmed: Skimmed | undefined;
  /** Reads a file without the numbers of its large weights; undefined where models are in memory as a whole. */
  readonly #skim: Skim | undefined;
  #locations: () => ReadonlySet<string>;
  /**
   * Names of initializers whose former numbers lay in external data: the present ones go there too when the model is written.
   * @internal
   */
  readonly apart: ReadonlySet<string>;

  private constructor(
    content: {
      pieces?: readonly Chunk[];
      proto?: onnx.ModelProto;
      skimmed?: Skimmed;
      skim?: Skim | undefined;
      locations?: () => ReadonlySet<string>;
      apart?: ReadonlySet<string>;
    },
    source: ModelSource,
  ) {
    this.#pieces = content.pieces;
    this.#proto = content.proto;
    this.#skimmed = content.skimmed;
    this.#skim = content.skim;
    if (source.path !== undefined) this.path = source.path;
    if (source.external !== undefined) this.external = source.external;
    if (source.files !== undefined) this.files = source.files;
    this.apart = content.apart ?? new Set();
    this.#locations = content.locations ?? (() => externalLocations(this.proto));
  }

  /** A model from the bytes of a file. Keeps the bytes without copying them and decodes them on first use. */
  static fromBytes(bytes: Uint8Array, source: ModelSource = {}): Model {
    return new Model({ pieces: [bytes] }, source);
  }

  /**
   * A model whose weights stay in its file.
   * @internal
   */
  static fromSkimmed(file: StoredFile, skimmed: Skimmed, source: ModelSource, skim: Skim): Model {
    return new Model({ pieces: [{ file, start: 0, end: file.size }], skimmed, skim }, source);
  }

  /**
   * {@link fromBytes} for a model whose successors are read by `skim` too, if they are in pieces.
   * @internal
   */
  static fromBytesSkimming(bytes: Uint8Array, source: ModelSource, skim: Skim): Model {
    return new Model({ pieces: [bytes], skim }, source);
  }

  /** A model from a message, which the caller must not change afterwards. Encodes it when its bytes are first needed. */
  static fromProto(proto: onnx.ModelProto, source: ModelSource = {}): Model {
    return new Model({ proto }, source);
  }

  /**
   * A model spliced from `base`, given as pieces of bytes. It refers to the same external data files as `base`.
   * @param apart - initializers that were external data, and have new numbers among the pieces
   * @internal
   */
  static spliced(pieces: readonly Chunk[], base: Model, apart: readonly string[] = []): Model {
    const locations = () => base.externalLocations;
    const all = apart.length > 0 ? new Set([...base.apart, ...apart]) : base.apart;
    return new Model({ pieces, skim: base.#skim, locations, apart: all }, base);
  }

  /**
   * The same model, whose external data files are known.
   * @internal
   */
  withLocations(locations: ReadonlySet<string>): Model {
    return new Model({ pieces: this.pieces, locations: () => locations }, this);
  }

  /**
   * The same model, whose initializers with these names go into external data when it is written.
   * @internal
   */
  withApart(names: Iterable<string>): Model {
    const pieces = this.#pieces ? { pieces: this.#pieces } : {};
    const content = { ...pieces, ...(this.#proto && { proto: this.#proto }), locations: this.#locations };
    return new Model({ ...content, skim: this.#skim, apart: new Set([...this.apart, ...names]) }, this);
  }

  /**
   * Whether this is the model itself, and no Proxy of it, which cannot read its private fields.
   * @internal
   */
  get isItself(): boolean {
    return #proto in this;
  }

  /**
   * The bytes in pieces, in order; some may lie in a file.
   * @internal
   */
  get pieces(): readonly Chunk[] {
    this.#pieces ??= encodeInPieces(this.proto);
    return this.#pieces;
  }

  /** The bytes in pieces, in order, all in memory. */
  get chunks(): readonly Uint8Array[] {
    return this.pieces.map(chunkBytes);
  }

  /** The bytes of the file in one array. Joins the pieces on first use and then releases them. */
  get bytes(): Uint8Array {
    const [first, ...others] = this.pieces;
    if (first instanceof Uint8Array && others.length === 0) return first;
    const joined = joinChunks(this.pieces);
    this.#pieces = [joined];
    return joined;
  }

  /** Size of the file in bytes, without external data. */
  get size(): number {
    return this.pieces.reduce((size, chunk) => size + chunkSize(chunk), 0);
  }

  /** The decoded message; raw tensor data is a view of {@link Model.bytes}, or is read when used. @throws SorthError when decoding fails */
  get proto(): onnx.ModelProto {
    this.#proto ??= this.#skimming()?.decode() ?? decodeModelProto(this.bytes);
    return this.#proto;
  }

  /**
   * The records of the file, for {@link splice}.
   * @throws SorthError as {@link layoutOf} does
   * @internal
   */
  get layout(): ModelLayout {
    return this.#skimming()?.layout ?? layoutOf(this.bytes);
  }

  /** The model without the numbers of its large weights, if they are pieces of their own or lie in a file. */
  #skimming(): Skimmed | undefined {
    if (!this.#skimmed && this.#skim && !(this.pieces.length === 1 && this.pieces[0] instanceof Uint8Array))
      this.#skimmed = this.#skim(this.pieces);
    return this.#skimmed;
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
  checkBytes("what a model is decoded from", bytes);
  const model = Model.fromBytes(bytes, source);
  void model.proto;
  return model;
}

/** The bytes of an ONNX file that holds the model. */
export function encodeModel(model: Model): Uint8Array {
  checkModel(model);
  return model.bytes;
}
