import { bytesInFiles } from "../onnx/weights-in-files.ts";
import { type Step, writtenGraph } from "../programs/step.ts";
import { type StepMemory, stepMemory } from "../programs/step-memory.ts";

/** How much memory a run will take, in bytes, before its first step. */
export interface MemoryEstimate extends StepMemory {
  /** What the run will add to the memory that the process has when the step is built, at the peak. */
  readonly added: number;
  /** The part of `frozen` that stays in its file, whose pages the system may drop at any time. */
  readonly mapped: number;
}

/** ONNX Runtime's pieces of memory are up to twice as large as what lies in them; measured (docs/decisions.md). */
const slack = 1.8;
/** What opening a session and the first runs take beside tensors. */
const own = 24 * 2 ** 20;

/**
 * The memory of a run on the host, whose state lies in two buffers that take turns.
 * @param isLoop - whether several steps are done in one run, whose loop holds the state once more
 */
export function estimateMemory(step: Step, isLoop: boolean): MemoryEstimate | undefined {
  const graph = writtenGraph(step);
  if (!graph) return undefined;
  const memory = stepMemory(graph, step.ports);
  const { activations, state, frozen, data } = memory;
  const mapped = Math.min(frozen, bytesInFiles(step.model));
  // Constants in the model: its bytes, ONNX Runtime's reading of them, and the tensors.
  const constants = 3 * (frozen - mapped);
  const added = (isLoop ? 3 : 2) * state + mapped + constants + slack * activations + data + own;
  return { ...memory, mapped, added: Math.round(added) };
}
