import type { Tensor as OrtTensor } from "onnxruntime-common";
import { RuntimeError } from "../errors.ts";
import type { StepPorts } from "../programs/step-ports.ts";
import type { StepResult } from "./step-session.ts";

/**
 * Loss and penalties of each step of a run, from ONNX Runtime's outputs.
 * @throws SorthError when an output is missing
 */
export function stepResults(
  {
    loss,
    penalty,
    penalties,
    losses,
    scaling,
  }: Pick<StepPorts, "loss" | "penalty" | "penalties" | "losses" | "scaling">,
  results: Readonly<Record<string, OrtTensor | undefined>>,
): StepResult[] {
  const numbers = (name: string): Float32Array => {
    const tensor = results[name];
    if (!tensor) throw new RuntimeError(`the step returned no "${name}"`);
    return tensor.data as Float32Array;
  };
  const all = penalty === undefined ? undefined : numbers(penalty);
  const parts = penalties.map(({ output }) => numbers(output));
  const terms = losses?.map(({ output }) => numbers(output));
  const [scales, skips] = scaling ? [numbers(scaling.scale), numbers(scaling.skipped)] : [];
  return Array.from(numbers(loss), (value, i) => ({
    ...{ loss: value, penalty: all?.[i] ?? 0 },
    penalties: parts.map((part) => part[i] ?? 0),
    ...(terms && { losses: terms.map((term) => term[i] ?? 0) }),
    ...(scales && { scaling: { lossScale: scales[i] ?? 0, skipped: skips?.[i] === 1 } }),
  }));
}

/** The scale of a loss below which a run stops: gradients are finite at no scale (the least scale of fairseq). */
const leastLossScale = 1e-4;

/** Whether a run can go on after a step: its loss is finite, or the step left its update out and may try a smaller scale. */
export const isGood = ({ loss, scaling }: StepResult): boolean =>
  scaling?.skipped ? scaling.lossScale >= leastLossScale : Number.isFinite(loss);

/** Whether a run can go on after each of some steps. */
export const allGood = (results: readonly StepResult[]): boolean => results.every(isGood);
