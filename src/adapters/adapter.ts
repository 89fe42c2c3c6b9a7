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
  /**
   * Trains one factor for each of a layer's results in place of A and B, as PEFT's IA³ (Liu et al. 2022, arXiv 2205.05638);
   * default false. The other settings are LoRA's.
   */
  readonly ia3?: boolean;
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
  /** With `ia3`: layers whose inputs are scaled rather than their results, as PEFT's `feedforward_modules`; default: none. */
  readonly feedforward?: RegExp;
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

/** The numbers of an adapter beside one layer: those of LoRA and DoRA, or of IA³. */
export type AdapterLayer = LoraLayer | Ia3Layer;

/** The numbers of LoRA or DoRA beside one layer. */
export interface LoraLayer {
  /** The layer's module in the source (`encoder.layers.0.fc1`), by which PEFT's files name it. */
  readonly module: string;
  /** alpha of this layer; its rank is the number of rows of A. */
  readonly alpha: number;
  /** A: [rank, in], of a convolution [rank, in, …kernel]. */
  readonly down: Tensor;
  /** B: [out, rank], of a convolution [out, rank / groups, 1, …]. */
  readonly up: Tensor;
  /** Whether the layer is an embedding, whose inputs are the rows of its table. */
  readonly embedding?: true;
  /** DoRA's lengths of the units' weights: [out], of a convolution [1, out, 1, …]. */
  readonly magnitude?: Tensor;
}

/** The numbers of IA³ beside one layer. */
export interface Ia3Layer {
  /** The layer's module in the source, as of a {@link LoraLayer}. */
  readonly module: string;
  /** The factors: [out, 1], of inputs [1, in]; of a convolution [1, out, 1, …] or [1, in, 1, …]. */
  readonly factors: Tensor;
  /** Whether they scale the layer's inputs rather than its results. */
  readonly feedforward: boolean;
  readonly down?: undefined;
  readonly up?: undefined;
  readonly embedding?: undefined;
}

/** The rank where none is given, and alpha too. */
export const defaultRank = 8;

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
