import { checkFields } from "../check-arguments.ts";
import { UsageError } from "../errors.ts";
import { checkOptions } from "../known-options.ts";
import type { Penalty, PenaltyDefinition, PenaltyOptions, Settings } from "./penalty.ts";
import type { PenaltyPlan } from "./plan.ts";

/** Keys that every penalty accepts in text besides its own options; see PenaltyPlan. */
export const planKeys = ["weight", "include", "exclude", "schedule"] as const;

/** The key that selects a preset in text. */
export const presetKey = "preset";

/** Makes a {@link Penalty} from some of its options; the others keep their defaults. */
export interface PenaltyFactory<O extends PenaltyOptions> {
  /** @throws UsageError for an option that the penalty does not have, or an invalid value. */
  (options?: Partial<Settings<O>>): Penalty;
  readonly definition: PenaltyDefinition<O>;
  /**
   * The penalty with the options and the weight of one of its presets.
   * @param options - replace those of the preset
   * @throws UsageError for a preset that the penalty does not have
   */
  readonly preset: (name: string, options?: Partial<Settings<O>>) => PenaltyPlan;
}

/**
 * Turns a definition into a function that makes penalties.
 *
 * @throws UsageError for a name or an option that would be ambiguous on a command line
 * @example
 * const som = definePenalty({ name: "som", on: "responses", defaults: { gamma: 10 }, …});
 * await inject(model, { penalties: [som({ gamma: 5 })] });
 */
export function definePenalty<O extends PenaltyOptions>(definition: PenaltyDefinition<O>): PenaltyFactory<O> {
  checkFields("a penalty is { name, on, defaults, build }", definition, "name", "on", "defaults", "build");
  const { name } = definition;
  if (!/^[a-z][a-z0-9-]*$/i.test(name)) {
    throw new UsageError(`the penalty's name "${name}" must be letters, digits and hyphens`);
  }
  const reserved = [...planKeys, presetKey].filter((key) => Object.hasOwn(definition.defaults, key));
  if (reserved.length > 0) {
    throw new UsageError(
      `the penalty ${name} cannot have an option "${reserved[0]}": every penalty has that besides its own`,
    );
  }
  // Options are checked against the defaults here, so that those of another penalty never reach this definition.
  const general = definition as unknown as PenaltyDefinition<PenaltyOptions>;
  const factory = (options: Partial<Settings<O>> = {}): Penalty => ({
    definition: general,
    options: checkedOptions(general, options),
  });
  const preset = (wanted: string, options: Partial<Settings<O>> = {}): PenaltyPlan => {
    const { weight, ...chosen } = presetOf(general, wanted);
    return {
      penalty: factory({ ...chosen, ...options } as Partial<Settings<O>>),
      ...(weight !== undefined && { weight }),
    };
  };
  return Object.assign(factory, { definition, preset });
}

/** The options and the weight of a preset. @throws UsageError if the penalty has no preset of that name. */
function presetOf(
  { name, presets = {} }: PenaltyDefinition<PenaltyOptions>,
  wanted: string,
): Partial<PenaltyOptions> & { readonly weight?: number } {
  const preset = Object.hasOwn(presets, wanted) ? presets[wanted] : undefined;
  if (preset) return preset;
  const known = Object.keys(presets).join(", ");
  throw new UsageError(
    `the penalty ${name} has no preset "${wanted}"; ${known ? `it has ${known}` : "it has none"}`,
  );
}

/** The given options, with defaults for the others. */
function checkedOptions(
  definition: PenaltyDefinition<PenaltyOptions>,
  given: Partial<PenaltyOptions>,
): PenaltyOptions {
  const { name: penalty, defaults } = definition;
  checkOptions(`the penalty ${penalty}`, given);
  const options: Record<string, number | string | boolean> = { ...defaults };
  for (const [name, value] of Object.entries(given)) {
    const fallback = Object.hasOwn(defaults, name) ? defaults[name] : undefined;
    if (fallback === undefined) {
      throw new UsageError(
        `the penalty ${penalty} has no option "${name}"; it has ${Object.keys(defaults).join(", ") || "none"}`,
      );
    }
    if (value === undefined) continue;
    if (typeof value !== typeof fallback) {
      throw new UsageError(
        `option ${name} of the penalty ${penalty} must be a ${typeof fallback}, not ${JSON.stringify(value)}`,
      );
    }
    if (typeof value === "number" && !Number.isFinite(Math.fround(value))) {
      throw new UsageError(`option ${name} of the penalty ${penalty} must be a finite number, not ${value}`);
    }
    const choices = definition.choices?.[name];
    if (choices && !choices.includes(value)) {
      throw new UsageError(
        `option ${name} of the penalty ${penalty} must be ${choices.join(" or ")}, not ${value}`,
      );
    }
    options[name] = value;
  }
  const problem = definition.problem?.(options);
  if (problem) throw new UsageError(`the penalty ${penalty}: ${problem}`);
  return options;
}

/** Says if an option is not a whole number or is too small; undefined if it is fine. */
export function notWhole(option: Readonly<Record<string, number>>, least: number): string | undefined {
  const [[name, value]] = Object.entries(option) as [[string, number]];
  if (Number.isInteger(value) && value >= least) return undefined;
  return `${name} must be a whole number of ${least} or more, not ${value}`;
}
