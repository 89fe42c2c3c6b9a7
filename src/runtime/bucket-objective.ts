import type { Probe } from "../analysis/probe.ts";
import { type CrossEntropyOptions, crossEntropy } from "../losses/cross-entropy.ts";
import { type AnyObjective, isCombined, isObjective, termsOf } from "../losses/terms.ts";
import type { Model } from "../onnx/model.ts";
import type { OpenStepOptions } from "./opened-step.ts";

/** The number of labels of a sample, where that is how a cross-entropy finds its class axis; 0 where it is not. */
function hintOf(objective: unknown): number {
  const { name, options } = objective as { name?: string; options?: CrossEntropyOptions };
  return name === "cross-entropy" ? (options?.labelPlaces ?? 0) : 0;
}

/**
 * The objective of a run for samples of other lengths. A cross-entropy that finds its class axis by the number of labels of a
 * sample would look for the number of the whole length, so that it is told the axis that it has there.
 * @param options - of the whole length
 */
export async function objectiveOfLengths(
  model: Model,
  options: OpenStepOptions & { readonly objective: AnyObjective },
  probe: Probe,
): Promise<AnyObjective> {
  const { objective, output } = options;
  if (!termsOf(objective, output).some((term) => hintOf(term.objective) > 0)) return objective;
  const { buildEvaluation } = await import("../programs/evaluation.ts");
  const { terms } = await buildEvaluation(model, options, { parameters: [], statistics: [] }, probe);
  const told = <O>(own: O, index: number): O => {
    const { shape } = terms[index]?.prediction ?? {};
    if (hintOf(own) === 0 || !shape || !isObjective(own as AnyObjective)) return own;
    const { classAxis, options: settings } = own as ReturnType<typeof crossEntropy>;
    const axis = classAxis?.(shape) === 1 ? 1 : -1;
    return crossEntropy({ ...(settings as CrossEntropyOptions), classAxis: axis, labelPlaces: 0 }) as O;
  };
  if (!isCombined(objective)) return told(objective, 0);
  return {
    ...objective,
    terms: objective.terms.map((term, i) => ({ ...term, objective: told(term.objective, i) })),
  };
}
