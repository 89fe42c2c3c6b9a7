import type { DataTypeName } from "../onnx/data-types.ts";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";

/** ONNX Runtime's description of one declared output of a model. */
export interface ProbedOutput {
  readonly name: string;
  /** False for sequences, maps and optionals. */
  readonly isTensor: boolean;
  readonly type: DataTypeName | undefined;
  /** Per axis a number, a symbol such as `batch`, or `""` if unknown; `[]` is a scalar or an unknown rank. */
  readonly shape: readonly (number | string)[] | undefined;
}

/**
 * ONNX Runtime, as the analysis uses it. The node and the web entry each supply one; the core never imports a runtime.
 */
export interface Probe {
  /** Whether it has kernels for float64. On WebAssembly, onnxruntime-web/webgpu has none, not even a Cast to double. */
  readonly float64: boolean;
  /**
   * Loads a model and describes its outputs; with `optimize` (default) at graph optimization level "basic", which finds more shapes
   * and computes every constant, of whatever size. @throws with ORT's message.
   */
  outputs(model: Uint8Array, options?: { optimize?: boolean }): Promise<readonly ProbedOutput[]>;
  /**
   * Runs a model once on the CPU and returns its outputs by name, except sequences and maps, which ONNX Runtime's
   * JavaScript bindings do not return. A {@link Model} may have external data.
   */
  run(
    model: Uint8Array | Model,
    feeds: ReadonlyMap<string, Tensor>,
    options?: { optimize?: boolean },
  ): Promise<ReadonlyMap<string, Tensor>>;
}
