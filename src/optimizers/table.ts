import { checkText } from "../check-arguments.ts";
import { UsageError } from "../errors.ts";
import { tableOf } from "../lookup.ts";
import { anyNumber } from "../numbers.ts";
import { accumulate } from "./accumulate.ts";
import { adafactor, scaleByFactoredRms } from "./adafactor.ts";
import { adagrad, scaleBySumOfSquares } from "./adagrad.ts";
import { adam } from "./adam.ts";
import { adamw } from "./adamw.ts";
import { adamwOrt } from "./adamw-ort.ts";
import type { Definition, Factory } from "./define.ts";
import { lamb } from "./lamb.ts";
import { lion, scaleByLion } from "./lion.ts";
import { muon } from "./muon.ts";
import { nadam, scaleByNadam } from "./nadam.ts";
import { rmsprop, scaleByRms } from "./rmsprop.ts";
import { sgd } from "./sgd.ts";
import type { GradientTransformation, OptimizerOptions } from "./transformation.ts";
import { averageEqually } from "./transformations/average-equally.ts";
import { averageUpdates } from "./transformations/average-updates.ts";
import { averageWeights } from "./transformations/average-weights.ts";
import { clipByGlobalNorm } from "./transformations/clip-by-global-norm.ts";
import { clipByValue } from "./transformations/clip-by-value.ts";
import { momentum } from "./transformations/momentum.ts";
import { orthogonalize } from "./transformations/orthogonalize.ts";
import { scaleByAdam } from "./transformations/scale-by-adam.ts";
import { scaleByLearningRate } from "./transformations/scale-by-learning-rate.ts";
import { scaleBySign } from "./transformations/scale-by-sign.ts";
import { scaleByTrustRatio } from "./transformations/scale-by-trust-ratio.ts";
import { addDecayedWeights, decayWeights } from "./transformations/weight-decay.ts";

// Each checks its own options.
const factories = (...made: readonly unknown[]) => made as readonly Factory[];

/** The optimizers; the first one is the default. */
export const optimizerFactories = factories(
  ...[adamw, adam, sgd, adamwOrt, lion, nadam, rmsprop, adagrad, adafactor, lamb, muon],
);

/** The transformations that chains are made of. */
export const transformationFactories = factories(
  ...[clipByGlobalNorm, clipByValue, addDecayedWeights, scaleByAdam, scaleByLion, scaleBySign, momentum],
  ...[scaleByNadam, scaleByRms, scaleBySumOfSquares, scaleByFactoredRms, scaleByTrustRatio],
  ...[averageUpdates, orthogonalize],
  ...[scaleByLearningRate, decayWeights, averageWeights, averageEqually],
);

/** Everything that has a name. */
const allFactories = [...optimizerFactories, ...transformationFactories];

/** The transformations that wrap another one, by name: each made again from its options and what it wraps. */
const wrappers = tableOf<
  Record<string, (options: OptimizerOptions, inner: GradientTransformation) => GradientTransformation>
>({
  accumulate: ({ batches }, inner) => accumulate(Number(batches), inner),
});

/** Transformations that the command line and the page can put in front of an optimizer, each with a flag for its main option. */
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
  factoryNamed(allFactories, "optimizer or transformation", name)(options);

/** The transformation of that name around another one. @throws UsageError for an unknown name or another value of an option */
export function wrapperNamed(
  name: string,
  options: OptimizerOptions,
  inner: GradientTransformation,
): GradientTransformation {
  const wrap = wrappers[name];
  if (wrap) return wrap(options, inner);
  const names = Object.keys(wrappers).join(", ");
  throw new UsageError(`there is no transformation "${name}" around another one; there is ${names}`);
}

/** The default of each option of an optimizer or a transformation; undefined if this package has none of that name. */
export const defaultsOf = (name: string): OptimizerOptions | undefined =>
  allFactories.find(({ definition }) => definition.name === name)?.definition.defaults;

/** The definition of the optimizer with the given name. @throws UsageError if there is none */
export const optimizerDefinition = (name: string): Definition<OptimizerOptions> =>
  factoryNamed(optimizerFactories, "optimizer", name).definition;

/** @throws UsageError if the list has no entry of that name */
function factoryNamed(list: readonly Factory[], what: string, name: string): Factory {
  checkText(`the name of the ${what}`, name);
  const found = list.find(({ definition }) => definition.name === name);
  if (found) return found;
  const names = list.map(({ definition }) => definition.name).join(", ");
  throw new UsageError(`there is no ${what} "${name}"; there are ${names}`);
}
