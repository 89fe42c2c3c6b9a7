/** The outcome of one export. */
export type Status =
  /** Every gradient is within the limit. */
  | "match"
  /** Beyond the limit in float32, but the same gradient graph is within it in float64. */
  | "float32"
  /** The exporter computed with parameters; the gradients of the remaining initializers pass by directional derivative. */
  | "folded"
  /** Beyond the limit. */
  | "differs"
  /** The tool refuses, with a reason. */
  | "refused"
  /** The exporter fails, or ONNX Runtime fails on the unchanged export. */
  | "no export";

/** One line of the report: an architecture, exported by one exporter in one mode. */
export interface PeerResult {
  readonly name: string;
  readonly family: string;
  readonly exporter: string;
  readonly mode: string;
  /** Versions of the packages that made the export and compared it; rows of before 2026-11-28, 23:00, have none. */
  readonly versions?: Readonly<Record<string, string>>;
  readonly status: Status;
  /** The reason if the status is not "match"; otherwise a remark. */
  readonly note?: string;
  readonly nodes?: number;
  readonly gradientNodes?: number;
  /** Milliseconds of differentiation, without ONNX Runtime's probe. */
  readonly milliseconds?: number;
  readonly probeMilliseconds?: number;
  /** PyTorch's mode for the comparison, if it differs from the export's. */
  readonly against?: "eval";
  /** Number of parameters of the original, and number of those whose gradient was compared. */
  readonly parameters?: number;
  readonly covered?: number;
  readonly lossError?: number;
  readonly error?: number;
  readonly worst?: string;
  readonly pytorchError?: number;
  readonly zeroError?: number;
  /** The worst parameter's error of the gradient graph in float64, if float32 is beyond the limit. */
  readonly float64Error?: number;
  /** Number of initializers checked by directional derivative, and its relative error. */
  readonly directional?: number;
  readonly directionalError?: number;
}

/** Limit for the relative distance of a parameter's gradient from the float64 gradient. */
export const gradientLimit = 1e-3;
/** Limit for the relative distance of a loss. */
export const lossLimit = 1e-4;
/** Limit for the relative distance of a directional derivative from differences of float32 losses. */
export const directionalLimit = 1e-2;
/** Limit for a gradient that is exactly zero: the largest number found, relative to the largest gradient of all. */
export const zeroLimit = 1e-4;
