import { UsageError } from "../errors.ts";
import { anyNumber } from "../numbers.ts";
import { adam } from "./adam.ts";
import { adamw } from "./adamw.ts";
import { adamwOrt } from "./adamw-ort.ts";
import type { Definition, Factory } from "./define.ts";
import { lion, scaleByLion } from "./lion.ts";
import { sgd } from "./sgd.ts";
import type { GradientTransformation, OptimizerOptions } from "./transformation.ts";
import { averageWeights } from "./transformations/average-weights.ts";
import { clipByGlobalNorm } from "./transformations/clip-by-global-norm.ts";
import { clipByValue } from "./transformations/clip-by-value.ts";
import { momentum } from "./transformations/momentum.ts";
import { scaleByAdam } from "./transformations/scale-by-adam.ts";
import { scaleByLearningRate } from "./transformations/scale-by-learning-rate.ts";
import { scaleBySign } from "./transformations/scale-by-sign.ts";
import { addDecayedWeights, decayWeights } from "./transformations/weight-decay.ts";

export {
  adam,
  adamw,
  adamwOrt,
  addDecayedWeights,
  averageWeights,
  clipByGlobalNorm,
  clipByValue,
  decayWeights,
  lion,
  momentum,
  scaleByAdam,
  scaleByLearningRate,
  scaleByLion,
  scaleBySign,
  sgd,
};

// Each checks its own options.
const factories = (...made: readonly unknown[]) => made as readonly Factory[];

/** The optimizers; the first one is the default. @internal */
export const optimizerFactories = factories(adamw, adam, sgd, adamwOrt, lion);

/** The transformations that chains are made of. @internal */
export const transformationFactories = factories(
  ...[clipByGlobalNorm, clipByValue, addDecayedWeights, scaleByAdam, scaleByLion, scaleBySign, momentum],
  ...[scaleByLearningRate, decayWeights, averageWeights],
);

/** Transformations that the command line and the page can put in front of an optimizer, each with a flag for its main option. @internal */
export const clippings = transformationFactories.flatMap((make) => {
  const { flag, main, ranges, title, summary } = make.definition;
  if (flag === undefined || main === undefined) return [];
  return [{ make, flag, title, summary, range: ranges[main] ?? anyNumber }];
});

/** Names of the optimizers, as `--optimizer` takes them. */
export const optimizerNames: readonly string[] = optimizerFactories.map(({ definition }) => definition.name);

/**
 * The optimizer of that name.
 * @throws UsageError for an unknown name or option, or a value that the option cannot take.
 *
 * @example
 * optimizerNamed("sgd", { momentum: 0.9, nesterov: true });
 */
export const optimizerNamed = (name: string, options: OptimizerOptions = {}): GradientTransformation =>
  factoryNamed(optimizerFactories, "optimizer", name)(options);

/** The optimizer or the transformation of that name. @throws UsageError as {@link optimizerNamed} does */
export const transformationNamed = (name: string, options: OptimizerOptions = {}): GradientTransformation =>
  factoryNamed(
    [...optimizerFactories, ...transformationFactories],
    "optimizer or transformation",
    name,
  )(options);

/** The definition of the optimizer with the given name. @throws UsageError if there is none @internal */
export const optimizerDefinition = (name: string): Definition<OptimizerOptions> =>
  factoryNamed(optimizerFactories, "optimizer", name).definition;

/** @throws UsageError if the list has no entry of that name */
function factoryNamed(list: readonly Factory[], what: string, name: string): Factory {
  const found = list.find(({ definition }) => definition.name === name);
  if (found) return found;
  const names = list.map(({ definition }) => definition.name).join(", ");
  throw new UsageError(`there is no ${what} "${name}"; there are ${names}`);
}
