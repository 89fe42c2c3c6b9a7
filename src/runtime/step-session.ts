import type { Tensor as OrtTensor } from "onnxruntime-common";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { BackendName } from "../passes/backends/names.ts";
import type { Lowering } from "../passes/backends/table.ts";
import type { Precision } from "../programs/options.ts";
import type { Step } from "../programs/step.ts";

/**
 * Inputs of a run besides the state: data, labels, masks and scalars, by input name. In Loop form they have a leading axis
 * over the run's steps, and their number is an input too.
 */
export type StepFeeds = ReadonlyMap<string, Tensor>;

/** Figures of one step. */
export interface StepResult {
  /** Data loss plus weighted penalty. */
  readonly loss: number;
  /** Unweighted penalty; 0 without one. */
  readonly penalty: number;
  /** The value of each of the ports' penalties, without any weight; together they make up `penalty`. */
  readonly penalties: readonly number[];
  /** In mixed precision with float16: the scale of the loss, and whether the update was left out. */
  readonly scaling?: { readonly lossScale: number; readonly skipped: boolean };
  /** The value of each of the ports' losses, without its weight; absent for a single loss. */
  readonly losses?: readonly number[];
}

/** Runs a step graph and keeps its state between runs. Each entry (node, web) supplies one. */
export interface StepSession {
  /**
   * Does one step, or in Loop form as many as the feeds say. The state advances only when all losses are finite, or their
   * updates were left out: after a NaN it is the state before the run.
   */
  run(feeds: StepFeeds): Promise<readonly StepResult[]>;
  /** Restores the state before the last run, if that run advanced it; works once, and only where Loop runs. */
  undo(): void;
  /**
   * The state by input name, in the step's form: parameters, slots, running statistics. Valid until the next run. Undefined while a device holds
   * newer numbers than the host; {@link readState} then fetches them.
   */
  state(): ReadonlyMap<string, Tensor> | undefined;
  /** The same state, fetched from the device if necessary. */
  readState(): Promise<ReadonlyMap<string, Tensor>>;
  /** The state where it lies on a device, for forward sessions of the same backend. Valid until the next run. */
  held?(): ReadonlyMap<string, Fed> | undefined;
  /** Replaces state by input name; tensors that are not named keep their numbers. */
  restore(state: ReadonlyMap<string, Tensor>): void;
  release(): Promise<void>;
}

/** A tensor of this library, or one of ONNX Runtime's that may lie on a device. */
export type Fed = Tensor | OrtTensor;

/** Runs an inference graph many times. */
export interface ForwardSession {
  run(feeds: ReadonlyMap<string, Fed>): Promise<ReadonlyMap<string, Tensor>>;
  release(): Promise<void>;
}

/** Options of a step's session. */
export interface StepSessionOptions extends SessionOptions {
  /** In node: ONNX Runtime measures each operator, and writes that when the session is released into a file that begins so. */
  readonly profile?: string;
  /** A session of the same backend whose step keeps the same tensors as its state: both then share them, and nothing is copied. */
  readonly beside?: StepSession | undefined;
}

/** Opens sessions on one backend. */
export interface Backend {
  readonly name: BackendName;
  /** Whether the backend runs the Loop form of a step on its device, several steps in one run. */
  readonly loops: boolean;
  /** Whether a step takes so long that several in one run save no time. */
  readonly oneStepARun?: (step: Step) => boolean;
  /** Whether the state lies on a device between runs: forward sessions then read it in the form that the step gives it. */
  readonly stateOnDevice: boolean;
  /** @throws SorthError with what to do, where the device is missing */
  readonly checkDevice?: (() => Promise<void>) | undefined;
  /** @throws SorthError with what to do, where the device does not compute in that precision */
  readonly checkPrecision?: ((precision: Precision) => Promise<void>) | undefined;
  /** How programs are brought into the forms that this backend runs (src/passes/backends/table.ts). */
  lowering(): Promise<Lowering>;
  openStep(step: Step, options: StepSessionOptions): Promise<StepSession>;
  openForward(model: Model, options: SessionOptions): Promise<ForwardSession>;
}

/** Options of a session. */
export interface SessionOptions {
  /** Threads within an operator; default: ONNX Runtime's own choice. The same bits need the same number of threads. */
  readonly threads?: number;
  /**
   * Lets a GPU backend run on the CPU the nodes that its device cannot run, and lists them to `onMessage`. Every step then
   * copies between device and host. Without it such a graph is refused.
   */
  readonly allowFallback?: boolean;
  /** Receives messages for the user: nodes that run on the CPU, options without effect. */
  readonly onMessage?: (message: string) => void;
}
