import type { BenchmarkModel } from "./models.ts";

/** What is timed: one way to make training steps of one network. */
export interface Contender {
  /** `sorth-onnx`, `PyTorch eager`, `torch.compile`. */
  readonly runtime: string;
  readonly network: string;
  /** Whether SOM is on every layer. */
  readonly regularized: boolean;
  /** Makes the first steps from the model's initial weights and returns their losses. */
  start(steps: number): Promise<readonly number[]>;
  /** Makes further steps on the same batch; mean milliseconds of a step. */
  run(steps: number): Promise<number>;
  close(): Promise<void>;
}

/** Something that can train a network, with and without SOM. */
export interface ContenderOptions {
  readonly model: BenchmarkModel;
  readonly regularized: boolean;
  readonly threads: number;
}

/**
 * Optimizer of every contender: AdamW as PyTorch defines it. The rate is low: a network that has learned its only batch
 * by heart computes with denormal numbers, which is slow.
 */
export const training = { learningRate: 1e-5, weightDecay: 0.01, penaltyWeight: 1 } as const;

/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const upper = sorted[Math.floor(middle)] ?? Number.NaN;
  return Number.isInteger(middle) ? ((sorted[middle - 1] ?? Number.NaN) + upper) / 2 : upper;
}
