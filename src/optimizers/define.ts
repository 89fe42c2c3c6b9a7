import { UsageError } from "../errors.ts";
import { checkOptions } from "../known-options.ts";
import { madeHere } from "../made-here.ts";
import { namedChain } from "./chain.ts";
import { type Chosen, checkedOptions, type Given, type OptionRanges } from "./options.ts";
import type { GradientTransformation, OptimizerOptions } from "./transformation.ts";

/** The description of an optimizer or a transformation, from which tables, help, the page and documents are made. */
export interface Definition<O extends OptimizerOptions> {
  /** As `--optimizer` and checkpoints spell it. */
  readonly name: string;
  /** As people write it. */
  readonly title: string;
  /** One line, without a full stop. */
  readonly summary: string;
  /** Every option with its default. */
  readonly defaults: O;
  readonly ranges: OptionRanges<O>;
  /** The option that may be given alone, as a number: `clipByGlobalNorm(1)`. */
  readonly main?: string & keyof O;
  /** The flag of the command line that puts it, with its main option, in front of the optimizer: `clip-norm`. */
  readonly flag?: string;
}

/** Makes an optimizer or a transformation from options. */
export interface Factory<O extends OptimizerOptions = OptimizerOptions> {
  (options?: number | Given<O>, more?: Given<O>): GradientTransformation;
  readonly definition: Definition<O>;
}

/**
 * An optimizer that is a chain: its options, and the members that they lead to.
 *
 * @param members - also throws a UsageError for options that contradict each other
 */
export const defineOptimizer = <O extends OptimizerOptions>(
  definition: Definition<O>,
  members: (options: Chosen<O>) => readonly GradientTransformation[],
): Factory<O> =>
  factory(definition, "optimizer", (options) => namedChain(definition.name, options, members(options)));

/** A transformation that stands in chains. */
export const defineTransformation = <O extends OptimizerOptions>(
  definition: Definition<O>,
  make: (
    options: Chosen<O>,
    own: { readonly name: string; readonly options: Chosen<O> },
  ) => GradientTransformation,
): Factory<O> =>
  factory(definition, "transformation", (options) =>
    madeHere(make(options, { name: definition.name, options })),
  );

function factory<O extends OptimizerOptions>(
  definition: Definition<O>,
  kind: string,
  make: (options: Chosen<O>) => GradientTransformation,
): Factory<O> {
  const { name, defaults, ranges, main } = definition;
  const of = `${kind} ${name}`;
  const made = (first: number | Given<O> = {}, more: Given<O> = {}) => {
    if (typeof first === "number" && main === undefined) {
      throw new UsageError(`the ${of} takes its options by name, not the number ${first}`);
    }
    for (const one of typeof first === "number" ? [more] : [first, more]) checkOptions(`the ${of}`, one);
    const given = typeof first === "number" ? { [main as string]: first } : first;
    return make(checkedOptions(of, defaults, { ...given, ...more } as Given<O>, ranges));
  };
  return Object.assign(made, { definition });
}
