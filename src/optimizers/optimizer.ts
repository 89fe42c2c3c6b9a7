import { checkFields } from "../check-arguments.ts";
import { SorthError, UsageError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { eachParameter, zipped } from "./each-parameter.ts";
import type { GradientTransformation, OptimizerOptions } from "./transformation.ts";
import { Update } from "./update.ts";

/** The values in a graph that the update of one parameter reads. */
export interface OptimizerInputs {
  readonly parameter: Typed;
  /** ∂loss/∂parameter, in the parameter's type and shape. */
  readonly gradient: Typed;
  /** One value in the parameter's type and shape for each of {@link PerParameterOptimizer.slots}; zeros at step 1. */
  readonly slots: readonly Typed[];
  /** Scalar of the parameter's type. */
  readonly learningRate: Typed;
  /** Scalar of the parameter's type: 1 at the first update. */
  readonly step: Typed;
}

/** The same for one parameter on plain numbers. */
export interface OptimizerNumbers {
  readonly parameter: readonly number[];
  readonly gradient: readonly number[];
  readonly slots: readonly (readonly number[])[];
  readonly learningRate: number;
  readonly step: number;
}

/** A rule that turns the gradient of one parameter into its next value, independently of the other parameters. */
export interface PerParameterOptimizer {
  readonly name: string;
  /** Every option, defaults included. */
  readonly options: OptimizerOptions;
  /** Names of the tensors that it keeps for each parameter, in the parameter's shape; they start as zeros. */
  readonly slots: readonly string[];
  /** Emits the update of one parameter. Use `once` for values that depend on scalars alone. */
  update(g: Emit, inputs: OptimizerInputs): { readonly parameter: Typed; readonly slots: readonly Typed[] };
  /** The same update in float64, on plain arrays. */
  reference(inputs: OptimizerNumbers): { parameter: number[]; slots: number[][] };
}

/** An optimizer for a step. The learning rate is not an option of it, because each step gets its own. */
export type Optimizer = GradientTransformation | PerParameterOptimizer;

/**
 * An optimizer as a gradient transformation.
 * @throws UsageError for an optimizer of this package with an `update` of the caller's own, which would not be called
 */
export function transformationOf(optimizer: Optimizer): GradientTransformation {
  checkFields("an optimizer is what adamw() or another one gives", optimizer, "name", "options");
  if (!("emit" in optimizer)) return perParameter(optimizer);
  if ("update" in optimizer || "reference" in optimizer) {
    throw new UsageError(
      `the optimizer ${optimizer.name} is a gradient transformation and has no "update": for an update of your own give { name, options, slots, update, reference } (perParameter of sorth-onnx/optimizers)`,
    );
  }
  return optimizer;
}

/**
 * Makes a gradient transformation of an optimizer that sees one parameter at a time. Its update replaces what earlier
 * members of a chain subtract: it takes theirs as the gradient.
 *
 * @example
 * chain(clipByGlobalNorm(1), perParameter(myOptimizer));
 */
export function perParameter(optimizer: PerParameterOptimizer): GradientTransformation {
  checkFields("perParameter takes { name, options, slots, update }", optimizer, "name", "slots", "update");
  const { name, options, slots } = optimizer;
  return eachParameter({
    ...{ name, options, slots },
    emit: (g, { update, slots: state, learningRate, step }) => {
      const { parameter } = update;
      const next = optimizer.update(g, {
        ...{ parameter, gradient: update.value(), slots: state },
        ...{ learningRate: learningRate(), step: step() },
      });
      return {
        update: new Update(g, parameter, () => ({ next: () => next.parameter })),
        slots: slots.map((_, i) => slotAt(next.slots, i)),
      };
    },
    compute: ({ parameter, update: gradient, slots: state, learningRate, step }) => {
      const next = optimizer.reference({ parameter, gradient, slots: state, learningRate, step });
      return {
        update: zipped(parameter, next.parameter, (before, after) => before - after),
        slots: next.slots,
      };
    },
  });
}

/** The slot at an index. @throws SorthError when there are fewer than the optimizer names */
export function slotAt<T>(slots: readonly T[], index: number): T {
  const slot = slots[index];
  if (slot === undefined) throw new SorthError(`the update of a parameter lacks its optimizer slot ${index}`);
  return slot;
}
