import type { DimensionOptions } from "../analysis/dimensions.ts";
import type { Tensor } from "../onnx/tensor.ts";

/** How strongly an adapter acts: `lora` by alpha/rank, `rslora` by alpha/√rank (Kalajdzievski 2023, arXiv 2312.03732). */
export type AdapterScaling = "lora" | "rslora";

/** What the adapters of a model have in common; the defaults are PEFT's. */
export interface AdapterSettings {
  /** Rows of A and columns of B; default 8. */
  readonly rank?: number;
  /** Numerator of the scaling; default 8. */
  readonly alpha?: number;
  readonly scaling?: AdapterScaling;
  /** Share of the layer's inputs that the adapter does not see at a training step; default 0. */
  readonly dropout?: number;
  /**
   * Trains the length of each unit's weights apart from their direction, as PEFT's `use_dora` (Liu et al. 2024, arXiv
   * 2402.09353); default false.
   */
  readonly dora?: boolean;
}

/** Which layers get adapters, and how these begin: the trainer's option `lora`. */
export interface LoraOptions extends AdapterSettings {
  /**
   * Layers by the names that `--include` of inject matches; default: all linear layers (Gemm, MatMul, MatMulNBits) but the one
   * that the output reads, as PEFT's `all-linear`; for a model without such layers its convolutions.
   */
  readonly include?: RegExp;
  /** Layers without an adapter. */
  readonly exclude?: RegExp;
  /** Trains the weight and bias of the layer that the output reads in full, as PEFT's `modules_to_save`; default false. */
  readonly trainHead?: boolean;
  /** Seed of A; B begins with zeros. Default 0. */
  readonly seed?: number;
}

/** Options of `addAdapters`. */
export interface AddAdaptersOptions extends LoraOptions, DimensionOptions {
  /** Receives a sentence that names the layers. */
  readonly onMessage?: (message: string) => void;
}

/** The numbers of an adapter beside one layer. */
export interface AdapterLayer {
  /** The layer's module in the source (`encoder.layers.0.fc1`), by which PEFT's files name it. */
  readonly module: string;
  /** alpha of this layer; its rank is the number of rows of A. */
  readonly alpha: number;
  /** A: [rank, in], of a convolution [rank, in, …kernel]. */
  readonly down: Tensor;
  /** B: [out, rank], of a convolution [out, rank, 1, …]. */
  readonly up: Tensor;
  /** DoRA's lengths of the units' weights: [out], of a convolution [1, out, 1, …]. */
  readonly magnitude?: Tensor;
}

/**
 * An adapter apart from its model: what a file in PEFT's format holds. `readAdapter` and `decodeAdapter` read one,
 * `adapterOf` takes it out of a model with adapters; `mergeAdapters`, `unmerge` and `loadAdapter` apply it.
 */
export interface Adapter extends Required<AdapterSettings> {
  readonly layers: readonly AdapterLayer[];
  /** Base parameters that were trained in full, by their names in the source (`fc.weight`), in PyTorch's layout. */
  readonly saved: ReadonlyMap<string, Tensor>;
}

/** An adapter and the factor by which it acts, for several on one model. */
export interface WeightedAdapter {
  readonly adapter: Adapter;
  /** Default 1. */
  readonly weight?: number;
}
