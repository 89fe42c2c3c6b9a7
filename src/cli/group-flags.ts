import { type Command, InvalidArgumentError } from "commander";
import { nameAndOptions } from "../name-and-options.ts";
import { count, decayRate, type NumberRange, notNegative } from "../numbers.ts";
import type { ParameterGroup, UpdateOptions } from "../programs/options.ts";
import { given, numberIn, pattern, repeated } from "./options.ts";

/** Flags that set parameters apart, and that keep averages of weights. */
export interface GroupFlags {
  readonly group?: readonly ParameterGroup[];
  /** False after `--no-decay`. */
  readonly decay?: boolean;
  readonly ema?: number;
  readonly swa?: UpdateOptions["swa"];
}

/** The settings of a group, as text and in the library. */
const settings: Readonly<
  Record<string, { readonly option: keyof ParameterGroup; readonly range: NumberRange }>
> = {
  lr: { option: "learningRate", range: notNegative },
  "weight-decay": { option: "weightDecay", range: notNegative },
  "freeze-until": { option: "freezeUntil", range: count },
};
const form = "pattern:lr=0.01,weight-decay=0,freeze-until=100";

/** Declares the flags. */
export function addGroupFlags(command: Command): void {
  command
    .option("--no-decay", "no weight decay of biases, normalizations and parameters with fewer than two axes")
    .option(
      "--group <pattern:settings>",
      `train the parameters whose name matches with settings of their own, one or more of ${form}; may be repeated, the first match decides`,
      repeated(group),
    )
    .option(
      "--ema <decay>",
      "keep a moving average of the weights with this share of the past; it is evaluated and written",
      numberIn(decayRate),
    )
    .option(
      "--swa <start[:every=steps]>",
      "keep the mean of the weights after step start and every so many steps from there (default: 1); it is evaluated and written",
      mean,
    );
}

/** The library's options for these flags. */
export const groupsOf = ({ group: groups, decay, ema, swa }: GroupFlags): Omit<UpdateOptions, "optimizer"> =>
  given({ groups, noDecay: decay === false ? true : undefined, ema, swa });

/** Reads a group; a pattern may have colons in it. */
function group(text: string): ParameterGroup {
  const colon = text.lastIndexOf(":");
  if (colon < 1) throw new InvalidArgumentError(`Give ${form}.`);
  const read = new Map<string, number>();
  for (const part of text.slice(colon + 1).split(",")) {
    const [key = "", value] = part.split("=");
    const setting = Object.hasOwn(settings, key) ? settings[key] : undefined;
    if (!setting || value === undefined) {
      const names = Object.keys(settings).join(", ");
      throw new InvalidArgumentError(`"${part}" is no setting of a group: give ${names}, as in ${form}.`);
    }
    if (read.has(setting.option)) throw new InvalidArgumentError(`It gives ${key} twice.`);
    read.set(setting.option, numberIn(setting.range)(value));
  }
  return { match: pattern(text.slice(0, colon)), ...Object.fromEntries(read) };
}

/** Reads the steps at which weights come to their mean. */
function mean(text: string): NonNullable<UpdateOptions["swa"]> {
  const { name, options } = nameAndOptions(text);
  const steps = numberIn(count);
  for (const key of options.keys()) {
    if (key !== "every") throw new InvalidArgumentError(`There is no "${key}" here; give start:every=steps.`);
  }
  const every = options.get("every");
  return { start: steps(name), ...(every !== undefined && { every: steps(every) }) };
}
