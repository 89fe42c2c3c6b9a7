import { UsageError } from "../errors.ts";
import { adam } from "./adam.ts";
import { adamw } from "./adamw.ts";
import { adamwOrt } from "./adamw-ort.ts";
import type { Optimizer } from "./optimizer.ts";
import { sgd } from "./sgd.ts";

// Each optimizer checks the names and types of its options itself.
type OptimizerMaker = (options: Record<string, number | boolean>) => Optimizer;

const optimizers: ReadonlyMap<string, OptimizerMaker> = new Map(
  Object.entries({ adamw, adam, sgd, "adamw-ort": adamwOrt } as Record<string, OptimizerMaker>),
);

/** Names of the optimizers, as `--optimizer` takes them. */
export const optimizerNames: readonly string[] = [...optimizers.keys()];

/**
 * The optimizer of that name.
 * @throws UsageError for an unknown name or option, or a value that the option cannot take.
 *
 * @example
 * optimizerNamed("sgd", { momentum: 0.9, nesterov: true });
 */
export function optimizerNamed(
  name: string,
  options: Readonly<Record<string, number | boolean>> = {},
): Optimizer {
  const make = optimizers.get(name);
  if (!make) throw new UsageError(`there is no optimizer "${name}"; there are ${optimizerNames.join(", ")}`);
  return make(options);
}
