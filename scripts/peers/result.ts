/** What became of one export. */
export type Status =
  /** Every gradient within the limit. */
  | "match"
  /** Beyond the limit in float32; the same gradient graph run in float64 is within it. */
  | "float32"
  /** The exporter computed with parameters when it exported; what the file still holds passes by directional derivative. */
  | "folded"
  /** Beyond the limit. */
  | "differs"
  /** The tool says that it cannot, and why. */
  | "refused"
  /** The exporter, or ONNX Runtime on the export as it is, fails. */
  | "no export";

/** One line of the report: one architecture by one exporter in one mode. */
export interface PeerResult {
  readonly name: string;
  readonly family: string;
  readonly exporter: string;
  readonly mode: string;
  readonly status: Status;
  /** The reason where the status is not "match"; what to know otherwise. */
  readonly note?: string;
  readonly nodes?: number;
  readonly gradientNodes?: number;
  /** Milliseconds of differentiating, ONNX Runtime's probe apart. */
  readonly milliseconds?: number;
  readonly probeMilliseconds?: number;
  /** Which of PyTorch's modes it is compared with, where that is not the mode it was exported in. */
  readonly against?: "eval";
  /** Parameters of the original, and how many of them a gradient was compared for. */
  readonly parameters?: number;
  readonly covered?: number;
  readonly lossError?: number;
  readonly error?: number;
  readonly worst?: string;
  readonly pytorchError?: number;
  readonly zeroError?: number;
  /** The worst parameter's error of the gradient graph run in float64; where float32 is beyond the limit. */
  readonly float64Error?: number;
  /** Initializers that were checked by directional derivative, and its relative error. */
  readonly directional?: number;
  readonly directionalError?: number;
}

/** Largest relative distance of a parameter's gradient from float64's. */
export const gradientLimit = 1e-3;
/** Largest relative distance of a loss. */
export const lossLimit = 1e-4;
/** Largest relative distance of a derivative along a direction from differences of float32 losses. */
export const directionalLimit = 1e-2;
/** A gradient that is zero in exact arithmetic: largest number found, relative to the largest gradient of all. */
export const zeroLimit = 1e-4;
