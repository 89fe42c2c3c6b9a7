import { type Model, rescuedInference, UsageError } from "../../src/web.ts";

/** A trained model that holds its loss, without it; undefined where the loss does not tell which value is the prediction. */
export function inferenceForm(trained: Model): Model | undefined {
  try {
    return rescuedInference(trained);
  } catch (error) {
    if (error instanceof UsageError) return undefined;
    throw error;
  }
}
