import { type Model, rescuedInference, UsageError } from "../../src/web.ts";

/** Removes the loss from a trained model that holds one; undefined if the loss does not show which value is the prediction. */
export function inferenceForm(trained: Model): Model | undefined {
  try {
    return rescuedInference(trained);
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}
