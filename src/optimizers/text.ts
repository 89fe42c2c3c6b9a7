import { UsageError } from "../errors.ts";
import { hyphened, nameAndOptions, readOptions } from "../name-and-options.ts";
import type { Definition } from "./define.ts";
import type { Optimizer } from "./optimizer.ts";
import { defaultsOf, optimizerDefinition, optimizerNamed } from "./table.ts";
import type { GradientTransformation, OptimizerOptions } from "./transformation.ts";

/**
 * Reads an optimizer from text: a name and, after a colon, its options. Names of options may be written with hyphens.
 *
 * @param more - options that are given elsewhere
 * @throws UsageError for an unknown name or option, an invalid value, or an option that is given twice
 *
 * @example
 * parseOptimizer("adamw:beta1=0.8,weight-decay=0.05");
 */
export function parseOptimizer(text: string, more: OptimizerOptions = {}): GradientTransformation {
  const { name, options } = nameAndOptions(text);
  const { defaults } = optimizerDefinition(name);
  const read = readOptions(options, defaults);
  const twice = Object.keys(read).find((option) => Object.hasOwn(more, option));
  if (twice !== undefined)
    throw new UsageError(`"${text}" gives ${twice} already; leave out --${hyphened(twice)}`);
  return optimizerNamed(name, { ...read, ...more });
}

/** Options and their defaults, as help and documents show them. */
export const defaultsText = ({ defaults }: Pick<Definition<OptimizerOptions>, "defaults">): string[] =>
  Object.entries(defaults).map(([option, value]) => `${hyphened(option)}=${value}`);

/**
 * An optimizer as {@link parseOptimizer} reads it, with the options that are not its defaults; the members of a chain one
 * after another, and what a transformation wraps in brackets.
 */
export function optimizerText(optimizer: Optimizer): string {
  const { name, options } = optimizer;
  const { parts, inner } = "emit" in optimizer ? optimizer : {};
  if (parts) return parts.map(optimizerText).join(", then ");
  const defaults = defaultsOf(name) ?? {};
  const changed = Object.entries(options).filter(([option, value]) => value !== defaults[option]);
  const text = changed.map(([option, value]) => `${hyphened(option)}=${value}`).join(",");
  return `${name}${text && `:${text}`}${inner ? ` (${optimizerText(inner)})` : ""}`;
}
