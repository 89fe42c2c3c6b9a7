import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Shape } from "../graph/shapes.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import type { Update } from "./update.ts";

/** Options by name; a regular expression is kept as its text, `/source/flags`. */
export type OptimizerOptions = Readonly<Record<string, number | boolean | string>>;

/** A parameter that is trained. */
export interface ParameterSpec {
  /** Its name in the model. */
  readonly name: string;
  readonly type: DataTypeName;
  readonly shape: Shape;
  /** For the weight of a layer: the matrix that it is. */
  readonly matrix?: LayerMatrix | undefined;
  /** The weight decay of its group, in place of the optimizer's. */
  readonly weightDecay?: number | undefined;
  /** Updates that pass before it is trained: its own count of updates begins after them. */
  readonly idle?: number | undefined;
  /** Index of the learning rate of its group; undefined for the run's. */
  readonly rate?: number | undefined;
  /** Whether penalties move it beside the optimizer ({@link TransformationInputs.penaltyGradient}). */
  readonly penalized?: boolean;
}

/** A layer's weight as a matrix, or one for each group: [units, inputs, kernel…], or with units second. */
export interface LayerMatrix {
  /** The axis of the weight that counts units. */
  readonly unitAxis: 0 | 1;
  /** 1, or a convolution's groups, which divide the weight's first axis. */
  readonly groups: number;
  /** Whether no other layer reads what this one computes. */
  readonly isOutput: boolean;
}

/** A tensor that a transformation keeps from one update to the next. */
export interface SlotSpec {
  /** `m`: the step graph reads `p.m` for the parameter p, or `m` where the slot belongs to no parameter. */
  readonly name: string;
  /** Index of the parameter that the slot belongs to; undefined for one of the whole run, such as a counter. */
  readonly of: number | undefined;
  readonly type: DataTypeName;
  readonly shape: Shape;
  /** Its initial value: this number everywhere, or the numbers of its parameter. */
  readonly start: number | "parameter";
}

/** The values in a graph that a transformation reads. */
export interface TransformationInputs {
  readonly parameters: readonly ParameterSpec[];
  /** One for each parameter: its gradient, or the update from the transformation before. */
  readonly updates: readonly Update[];
  /** The slots, in the order of {@link GradientTransformation.init}. */
  readonly state: readonly Typed[];
  /** The learning rate as a scalar: that of a parameter in its type, or that of the run in the type given. */
  readonly learningRate: (of: ParameterSpec | DataTypeName) => Typed;
  /** The momentum of this step, where a schedule moves it: it takes the place of a transformation's own. */
  readonly momentum?: ((type: DataTypeName) => Typed) | undefined;
  /**
   * The number of the update as a scalar, 1 at the first: as a parameter counts, in its type (those of a group that waits begin
   * later), or as the run counts, in the type given.
   */
  readonly step: (of: ParameterSpec | DataTypeName) => Typed;
  /**
   * ∇(w·R) with respect to a {@link ParameterSpec.penalized} parameter, for penalties that are not in the loss; `at`: the
   * parameter, or where it stands after its update.
   */
  readonly penaltyGradient?: ((of: ParameterSpec, at: Typed) => Typed) | undefined;
}

/** The same on plain numbers. */
export interface TransformationNumbers {
  readonly parameters: readonly (ParameterSpec & { readonly values: readonly number[] })[];
  readonly updates: readonly (readonly number[])[];
  readonly state: readonly (readonly number[])[];
  readonly learningRate: number;
  readonly momentum?: number | undefined;
  readonly step: number;
  /** As {@link TransformationInputs.penaltyGradient}. */
  readonly penaltyGradient?: ((of: ParameterSpec, at: readonly number[]) => readonly number[]) | undefined;
}

/**
 * A rule that turns the gradients of all parameters at once into updates, or updates into other updates. `chain` puts
 * several in a row; what the last one returns is subtracted from the parameters. An optimizer is a chain that ends with
 * `scaleByLearningRate` (and, for decoupled weight decay, `decayWeights`).
 *
 * A transformation sees all parameters and may wrap another one, as `accumulate` does.
 *
 * @example
 * const optimizer = chain(clipByGlobalNorm(1), adamw({ weightDecay: 0.05 }), averageWeights(0.999));
 */
export interface GradientTransformation {
  /** As checkpoints and `--optimizer` spell it. */
  readonly name: string;
  /** Every option, defaults included: with the name they are what a checkpoint keeps. */
  readonly options: OptimizerOptions;
  /** The members of a chain that has no name of its own: a checkpoint keeps each. */
  readonly parts?: readonly GradientTransformation[];
  /** The transformation that it wraps: a checkpoint keeps that too. */
  readonly inner?: GradientTransformation;
  /**
   * Absent if the arithmetic depends on a parameter's shape, or might: parameters then have the model's shape. If present, a
   * parameter's numbers may lie in any order and have another shape. It returns a text that is the same for parameters whose
   * numbers are all treated alike, so that they may lie end to end in one tensor; undefined for a parameter that has to stay
   * alone, because the transformation takes its norm, for instance.
   */
  readonly treatment?: (parameter: ParameterSpec) => string | undefined;
  /** The state that it keeps for these parameters. */
  init(parameters: readonly ParameterSpec[]): readonly SlotSpec[];
  /**
   * Emits the transformation. Nodes are to be emitted when an update or a slot is asked for, parameter by parameter, so that
   * gradients need not be kept longer than necessary; what depends on scalars alone is emitted once ({@link Emit.once}).
   *
   * @returns the updates in the order of the parameters, and the next slots in the order of {@link init}
   */
  emit(
    g: Emit,
    inputs: TransformationInputs,
  ): {
    /** The change of each parameter. */
    readonly updates: readonly Update[];
    /** Emits the next slots. */
    readonly state: readonly (() => Typed)[];
  };
  /** The reference: the same in float64, on plain arrays. */
  compute(inputs: TransformationNumbers): { updates: number[][]; state: number[][] };
}
