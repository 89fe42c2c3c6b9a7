import type { Node, Value } from "../graph/node.ts";

/** An operator whose weight's columns are the units of a layer. */
export type SiteOp = "Gemm" | "Conv" | "ConvTranspose" | "MatMul";

/** A layer on which a penalty can act (DESIGN §2). */
export interface Site {
  /** Name of the operator's node, or of its output where it has none. */
  readonly name: string;
  /** What --include and --exclude match: its name, its module's in the source, the names of its weight and bias. */
  readonly names: readonly string[];
  readonly op: SiteOp;
  readonly node: Node;
  /** The response: the node's output, or that of the Add of its bias. Bias included, before BatchNorm and activation. */
  readonly response: Value;
  /** The parameter itself, traced through Transpose, Identity, Reshape, Cast, DequantizeLinear. */
  readonly weight: Value;
  /** Which input of the node is the weight, as the node reads it. */
  readonly weightInput: 0 | 1;
  readonly bias: Value | undefined;
  /** k: columns of a Gemm, output channels of a convolution. */
  readonly units: number;
  /** d: numbers in one unit's weight vector. */
  readonly fanIn: number;
  /** 1, or a convolution's groups. */
  readonly groups: number;
  /** Axis of the response that counts units. */
  readonly unitAxis: number;
  /** b: number of rows of the response (batch × positions), for the probed batch size. */
  readonly rows: number;
  /** Whether `rows` is fixed by the model, not by the sizes of free dimensions that it is probed with. */
  readonly rowsFixed: boolean;
  /** Axes of the response whose lengths the model leaves free; empty where `rowsFixed`. */
  readonly freeAxes: readonly number[];
  /** Whether the weight is behind DequantizeLinear: such a site can be injected, not trained. */
  readonly quantized: boolean;
}

/** A layer without a penalty, and why. */
export interface SkippedSite {
  readonly name: string;
  /** Its operator: `LSTM`, `com.microsoft.FusedConv`. */
  readonly op: string;
  readonly reason: string;
}
