import type { Tensor as OrtTensor } from "onnxruntime-common";
import { RuntimeError } from "../errors.ts";
import type { StepPorts } from "../programs/step-ports.ts";
import type { StepResult } from "./step-session.ts";

/**
 * Loss and penalties of each step of a run, from ONNX Runtime's outputs.
 * @throws SorthError when an output is missing
 */
export function stepResults(
  { loss, penalty, penalties }: Pick<StepPorts, "loss" | "penalty" | "penalties">,
  results: Readonly<Record<string, OrtTensor | undefined>>,
): StepResult[] {
  const numbers = (name: string): Float32Array => {
    const tensor = results[name];
    if (!tensor) throw new RuntimeError(`the step returned no "${name}"`);
    return tensor.data as Float32Array;
  };
  const all = penalty === undefined ? undefined : numbers(penalty);
  const parts = penalties.map(({ output }) => numbers(output));
  return Array.from(numbers(loss), (value, i) => ({
    ...{ loss: value, penalty: all?.[i] ?? 0 },
    penalties: parts.map((part) => part[i] ?? 0),
  }));
}

/** Whether every loss of a run is finite. */
export const allFinite = (results: readonly StepResult[]): boolean =>
  results.every(({ loss }) => Number.isFinite(loss));
