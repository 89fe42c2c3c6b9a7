import { chain } from "./chain.ts";
import type { Optimizer } from "./optimizer.ts";
import { transformationNamed, wrapperNamed } from "./table.ts";
import type { GradientTransformation, OptimizerOptions } from "./transformation.ts";

/** An optimizer as a checkpoint keeps it. */
export interface StoredOptimizer {
  readonly name: string;
  readonly options: OptimizerOptions;
  /** The members of a chain that has no name of its own. */
  readonly parts?: readonly StoredOptimizer[];
  /** The transformation that it wraps. */
  readonly inner?: StoredOptimizer;
}

/** Name and options of an optimizer, with those of the members of a chain or of what it wraps. */
export function storedOptimizer(optimizer: Optimizer): StoredOptimizer {
  const { name, options } = optimizer;
  const { parts, inner } = "emit" in optimizer ? optimizer : {};
  return {
    ...{ name, options },
    ...(parts && { parts: parts.map(storedOptimizer) }),
    ...(inner && { inner: storedOptimizer(inner) }),
  };
}

/** Makes the optimizer again. @throws UsageError for a name or an option that this version does not have */
export function optimizerFromStored({
  name,
  options,
  parts,
  inner,
}: StoredOptimizer): GradientTransformation {
  if (parts) return chain(...parts.map(optimizerFromStored));
  return inner ? wrapperNamed(name, options, optimizerFromStored(inner)) : transformationNamed(name, options);
}
