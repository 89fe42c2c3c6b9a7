import { SorthError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";

/** What an update reads, in a graph. */
export interface OptimizerInputs {
  readonly parameter: Typed;
  /** ∂loss/∂parameter, in the parameter's type and shape. */
  readonly gradient: Typed;
  /** One value in the parameter's type and shape for each of {@link Optimizer.slots}; zeros at step 1. */
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

/** A rule that turns gradients into the next parameters. Its options are chosen; the learning rate comes with each step. */
export interface Optimizer {
  /** As `--optimizer` spells it. */
  readonly name: string;
  /** Every option, defaults included. */
  readonly options: Readonly<Record<string, number | boolean>>;
  /** Names of what it remembers about each parameter: tensors of the parameter's shape that start as zeros. */
  readonly slots: readonly string[];
  /** Emits the update of one parameter. What depends on scalars alone is emitted once for all parameters. */
  update(g: Emit, inputs: OptimizerInputs): { readonly parameter: Typed; readonly slots: readonly Typed[] };
  /** The same update in float64, on plain arrays. */
  reference(inputs: OptimizerNumbers): { parameter: number[]; slots: number[][] };
}

/** The slot at an index. @throws SorthError when the update was given fewer than the optimizer has. */
export function slotAt<T>(slots: readonly T[], index: number): T {
  const slot = slots[index];
  if (slot === undefined) throw new SorthError(`the update of a parameter lacks its optimizer slot ${index}`);
  return slot;
}
