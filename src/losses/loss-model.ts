import { UsageError } from "../errors.ts";
import { checkModel } from "../onnx/check-model.ts";
import type { Model } from "../onnx/model.ts";

/** A loss that is an ONNX model, from {@link lossModel}. */
export interface LossModel {
  /** Its name in messages and events. */
  readonly name: string;
  readonly model: Model;
}

/**
 * A loss of the user's own as an ONNX model, which becomes part of the training graph and is differentiated with it. Its
 * inputs are outputs of the trained model, by name, and targets: `labels`, and further arrays of the data by name. If no
 * input has the name of an output, the first one that is not called like labels takes the prediction. Its first output is the
 * loss: one number, or several, whose mean is taken. Its own weights stay as they are.
 *
 * @throws UsageError for a model without an output
 * @example
 * const objective = lossModel(await readModel("loss.onnx"));
 */
export function lossModel(model: Model, name = "loss model"): LossModel {
  checkModel(model);
  if ((model.proto.graph?.output ?? []).length === 0) {
    throw new UsageError(`${name}: the model has no output, and a loss is its first output`);
  }
  return { name, model };
}
