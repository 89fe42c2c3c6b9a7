import type { Node, Value } from "../graph/node.ts";
import type { Tensor } from "../onnx/tensor.ts";

/** An operator whose weight's columns are the units of a layer. */
export type SiteOp = "Gemm" | "Conv" | "ConvTranspose" | "MatMul";

/** A layer on which a penalty can act (DESIGN §2). */
export interface Site {
  /** Name of the operator's node, or of its output if the node has no name. */
  readonly name: string;
  /** Names that --include and --exclude match: its own, its module's in the source, its weight's and its bias's. */
  readonly names: readonly string[];
  readonly op: SiteOp;
  readonly node: Node;
  /** The response: the output of the node, or of the Add that adds its bias. Includes the bias; before BatchNorm and activation. */
  readonly response: Value;
  /** The parameter itself, traced through Transpose, Identity, Reshape, Cast, DequantizeLinear. */
  readonly weight: Value;
  /** The node's input that is the weight, as the node reads it. */
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
  /** Whether the model itself fixes `rows`, rather than the sizes with which free dimensions are probed. */
  readonly rowsFixed: boolean;
  /** Axes of the response whose lengths the model leaves free; empty where `rowsFixed`. */
  readonly freeAxes: readonly number[];
  /** Whether the weight is behind DequantizeLinear: such a site takes an injected penalty but cannot be trained. */
  readonly quantized: boolean;
  /** For a layer inside a body: the graph's node that holds the body, and why its responses cannot be read. Its `node` is in no graph. */
  readonly body?: { readonly holder: Node; readonly reason: string };
  /** The adapter whose A the layer is; penalties on adapters read it. */
  readonly adapter?: AdapterParts;
}

/** What belongs to the A of an adapter. */
export interface AdapterParts {
  /** B, the parameter. */
  readonly up: Value;
  /** The adapter adds scaling · B·A to the layer's weight. */
  readonly scaling: number;
  /** The vectors with which a penalty compares it, by the penalty's options; or why there are none. */
  readonly frozen: ReadonlyMap<object, Readonly<Record<string, Tensor>> | string>;
}

/** A layer without a penalty, and why. */
export interface SkippedSite {
  readonly name: string;
  /** Its operator: `LSTM`, `com.microsoft.FusedConv`. */
  readonly op: string;
  readonly reason: string;
}

/** A node inside a body of If, Loop or Scan. */
export interface BodyNode {
  /** A copy that reads the graph's own values where the body captures them; it belongs to no graph. */
  readonly node: Node;
  /** The graph's node that holds the body, or a body in the body. */
  readonly holder: Node;
  /** Why its results cannot be read. */
  readonly reason: string;
  /** Why its weight cannot be read either, if so. */
  readonly refused?: string;
}

/** Layers that the main graph does not show (`hiddenLayers`). */
export interface HiddenLayers {
  readonly inBodies: readonly BodyNode[];
  readonly inFunctions: readonly SkippedSite[];
}
