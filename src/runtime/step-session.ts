import type { Tensor as OrtTensor } from "onnxruntime-common";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { BackendName } from "../passes/backends/names.ts";
import type { Pass } from "../passes/pass.ts";
import type { Step } from "../programs/step.ts";

/**
 * What a run is given besides the state: data, labels, masks, scalars, by input name; in Loop form with a leading axis over
 * its steps, and their number.
 */
export type StepFeeds = ReadonlyMap<string, Tensor>;

/** Figures of one step. */
export interface StepResult {
  /** Data loss plus weighted penalty. */
  readonly loss: number;
  /** Unweighted penalty; 0 without one. */
  readonly penalty: number;
  /** What it is made of: the value of each of the ports' penalties, without any weight. */
  readonly penalties: readonly number[];
}

/** Runs a step graph and keeps its state between steps. Each entry (node, web) supplies one. */
export interface StepSession {
  /**
   * One step, or in Loop form as many as the feeds say. The state advances only when the loss of every one is finite: a NaN
   * leaves the state before the run.
   */
  run(feeds: StepFeeds): Promise<readonly StepResult[]>;
  /** Goes back to the state before the last run, which has advanced; once, and only where Loop runs. */
  undo(): void;
  /**
   * The state by input name: parameters, slots, running statistics. Valid until the next run.
   * Undefined while a device holds newer numbers than the host: {@link readState} fetches them.
   */
  state(): ReadonlyMap<string, Tensor> | undefined;
  /** The same, fetched from the device where that is needed. */
  readState(): Promise<ReadonlyMap<string, Tensor>>;
  /** The state where it lies, as forward sessions of the same backend are fed with it. Valid until the next run. */
  held(): ReadonlyMap<string, Fed>;
  /** Replaces state by input name; what is not named stays. */
  restore(state: ReadonlyMap<string, Tensor>): void;
  release(): Promise<void>;
}

/** A tensor of ours, or one of ONNX Runtime's that may lie on a device. */
export type Fed = Tensor | OrtTensor;

/** Runs an inference graph many times. */
export interface ForwardSession {
  run(feeds: ReadonlyMap<string, Fed>): Promise<ReadonlyMap<string, Tensor>>;
  release(): Promise<void>;
}

/** Opens sessions on one backend. */
export interface Backend {
  readonly name: BackendName;
  /** Whether it runs the Loop form of a step on its device, several steps in one run. */
  readonly loops: boolean;
  /** @throws SorthError where the device is missing, with what to do */
  readonly checkDevice?: (() => Promise<void>) | undefined;
  /** The forms that graphs get here (src/passes/backends/table.ts). */
  lowering(): Promise<readonly Pass<unknown>[] | undefined>;
  openStep(step: Step, options: SessionOptions): Promise<StepSession>;
  openForward(model: Model, options: SessionOptions): Promise<ForwardSession>;
}

/** Options of a session. */
export interface SessionOptions {
  /** Threads within an operator; default: ONNX Runtime's own choice. The same bits need the same number. */
  readonly threads?: number;
  /**
   * Lets a GPU backend run on the CPU what its device cannot run, and tells which nodes those are (`onMessage`); without it
   * such a graph is refused. Every step then copies between device and host.
   */
  readonly allowFallback?: boolean;
  /** Receives what the user should know: nodes that run on the CPU, options without effect. */
  readonly onMessage?: (message: string) => void;
}
