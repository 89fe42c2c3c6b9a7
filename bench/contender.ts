import type { BenchmarkModel } from "./models.ts";

/** A contender: one implementation of the training step of one network. */
export interface Contender {
  /** `sorth-onnx`, `PyTorch eager`, `torch.compile`. */
  readonly runtime: string;
  readonly network: string;
  /** Whether every layer has the SOM penalty. */
  readonly regularized: boolean;
  /** Runs the first steps from the model's initial weights and returns their losses. */
  start(steps: number): Promise<readonly number[]>;
  /** Runs further steps on the same batch and returns the mean milliseconds per step. */
  run(steps: number): Promise<number>;
  close(): Promise<void>;
}

/** Options of a contender. */
export interface ContenderOptions {
  readonly model: BenchmarkModel;
  readonly regularized: boolean;
  readonly threads: number;
}

/**
 * The optimizer of every contender: AdamW as PyTorch defines it. The learning rate is low, because a network that has
 * memorized its only batch computes with denormal numbers, which is slow.
 */
export const training = { learningRate: 1e-5, weightDecay: 0.01, penaltyWeight: 1 } as const;

/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? Number.NaN;
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? Number.NaN) + upper) / 2 : upper;
}
