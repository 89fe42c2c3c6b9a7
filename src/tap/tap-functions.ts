import type { Model } from "../onnx/model.ts";
import type { InnerValueInfo, TapOptions } from "./tap.ts";

/** The functions of {@link Library} that show what a model computes inside. */
export interface TapFunctions {
  /**
   * Makes inner values of a model outputs, under their own names: activations to look at, features for another model, what a
   * hook reads in PyTorch. Types and shapes are those that ONNX Runtime infers; a free batch stays free. Everything else stays
   * byte for byte as it was, and large weights are neither copied nor, in other files, read; `strip` takes the outputs away
   * again.
   *
   * Without graph optimization, the model's own outputs are the same to the bit. With it, ONNX Runtime cannot fuse operators
   * whose result is an output, so that they may differ by rounding.
   *
   * @param model - it is not changed; it may hold an injected penalty, and may be tapped again
   * @param options - patterns for the names or the operators of the values
   * @returns a model of views of the old bytes, whose new outputs follow its own in the order of the graph
   * @throws UsageError when nothing matches, or more than `limit`; SorthError with the code `model` for values inside bodies
   *   of If, Loop and Scan and inside functions
   *
   * @example
   * import { readModel, tap, writeModel } from "sorth-onnx";
   *
   * const tapped = await tap(await readModel("model.onnx"), { include: /^relu/ });
   * await writeModel(tapped, "tapped.onnx");
   */
  tap(model: Model, options: TapOptions): Promise<Model>;

  /**
   * Lists the values that {@link Library.tap} can make outputs and that {@link Library.differentiate} can differentiate with
   * respect to, in the order of the graph, with all names that a pattern may match.
   *
   * @param model - it is not changed
   * @throws SorthError with the code `runtime` when ONNX Runtime refuses the model
   *
   * @example
   * import { innerValues, readModel } from "sorth-onnx";
   *
   * for (const { name, op, shape } of await innerValues(await readModel("model.onnx"))) console.log(name, op, shape);
   */
  innerValues(model: Model): Promise<InnerValueInfo[]>;
}
