import type { BenchmarkModel } from "./models.ts";

/** The start of a contender. */
export interface Start {
  /** Losses of the first steps, from the initial weights; empty for a contender without a loss. */
  readonly losses: readonly number[];
  /** Seconds to the loss of the first step: reading the file, building, opening sessions or compiling. */
  readonly seconds: number;
}

/** A contender: one implementation of the training step of one network. */
export interface Contender {
  /** `sorth-onnx`, `PyTorch eager`, `torch.compile`, … */
  readonly runtime: string;
  readonly network: string;
  /** Whether every layer has the SOM penalty. */
  readonly regularized: boolean;
  /** Runs the first steps from the model's initial weights. */
  start(steps: number): Promise<Start>;
  /** Runs further steps on the same batch and returns the mean milliseconds per step. */
  run(steps: number): Promise<number>;
  /** Peak resident memory of its process in MiB since the last call. */
  peak(): Promise<number>;
  close(): Promise<void>;
}

/** Options of a contender. */
export interface ContenderOptions {
  /** Reads the model, when the contender is started. */
  readonly model: () => BenchmarkModel;
  readonly regularized: boolean;
  readonly threads: number;
}

/** The name of this library's contender. */
export const own = "sorth-onnx";

/** The name of the least that SOM's operators take (bench/floor.ts). */
export const floor = "floor of SOM";

/**
 * The optimizer of every contender: AdamW as PyTorch defines it. The learning rate is low, because a network that has
 * memorized its only batch computes with denormal numbers, which is slow.
 */
export const training = { learningRate: 1e-5, weightDecay: 0.01, penaltyWeight: 1 } as const;
