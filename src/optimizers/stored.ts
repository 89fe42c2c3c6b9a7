import { chain } from "./chain.ts";
import type { Optimizer } from "./optimizer.ts";
import { transformationNamed } from "./table.ts";
import type { GradientTransformation, OptimizerOptions } from "./transformation.ts";

/** An optimizer as a checkpoint keeps it. */
export interface StoredOptimizer {
  readonly name: string;
  readonly options: OptimizerOptions;
  /** The members of a chain that has no name of its own. */
  readonly parts?: readonly StoredOptimizer[];
}

/** Name and options of an optimizer, or those of each member of a chain. */
export function storedOptimizer(optimizer: Optimizer): StoredOptimizer {
  const { name, options } = optimizer;
  const parts = "parts" in optimizer ? optimizer.parts : undefined;
  return { name, options, ...(parts && { parts: parts.map(storedOptimizer) }) };
}

/** Makes the optimizer again. @throws UsageError for a name or an option that this version does not have */
export const optimizerFromStored = ({ name, options, parts }: StoredOptimizer): GradientTransformation =>
  parts ? chain(...parts.map(optimizerFromStored)) : transformationNamed(name, options);
