import type { DataTypeName } from "../onnx/data-types.ts";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";

/** What ONNX Runtime says of one declared output of a model. */
export interface ProbedOutput {
  readonly name: string;
  /** False for sequences, maps and optionals. */
  readonly isTensor: boolean;
  readonly type: DataTypeName | undefined;
  /** A number, a symbol such as `batch`, or `""` where unknown; `[]` is a scalar or an unknown rank. */
  readonly shape: readonly (number | string)[] | undefined;
}

/**
 * ONNX Runtime as the analysis needs it. The node and the web entry each supply one; the core never imports a runtime.
 */
export interface Probe {
  /** Whether it has kernels for float64. onnxruntime-web/webgpu has none on WebAssembly, not even a Cast to double. */
  readonly float64: boolean;
  /** Loads a model (graph optimization level "basic") and returns what its outputs are. @throws with ORT's message. */
  outputs(model: Uint8Array): Promise<readonly ProbedOutput[]>;
  /** Runs a model once on the CPU and returns its outputs by name. A {@link Model} may keep data in other files. */
  run(
    model: Uint8Array | Model,
    feeds: ReadonlyMap<string, Tensor>,
    options?: { optimize?: boolean },
  ): Promise<ReadonlyMap<string, Tensor>>;
}
