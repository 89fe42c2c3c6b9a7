import { checkText } from "../check-arguments.ts";
import { UsageError } from "../errors.ts";
import { checkOptions } from "../known-options.ts";
import { decimal } from "../numbers.ts";
import type { PenaltyFactory } from "./define.ts";
import type { Penalty, PenaltyDefinition, PenaltyOptions } from "./penalty.ts";
import type { PenaltyPlan } from "./plan.ts";
import { barlow } from "./responses/barlow.ts";
import { decov } from "./responses/decov.ts";
import { vicreg } from "./responses/vicreg.ts";
import { som } from "./som.ts";
import { biggan } from "./weights/biggan.ts";
import { dso } from "./weights/dso.ts";
import { keras } from "./weights/keras.ts";
import { lorth } from "./weights/lorth.ts";
import { mc } from "./weights/mc.ts";
import { mhe } from "./weights/mhe.ts";
import { mma } from "./weights/mma.ts";
import { ocnn } from "./weights/ocnn.ts";
import { so } from "./weights/so.ts";
import { spectralSo } from "./weights/spectral-so.ts";
import { srip } from "./weights/srip.ts";

/** Every penalty that the command line knows by name. */
const factories = [
  som,
  ...[so, spectralSo, dso, biggan, mc, srip, ocnn, keras, mhe, mma, lorth],
  ...[decov, barlow, vicreg],
].map((factory) => factory as unknown as PenaltyFactory<PenaltyOptions>);

/** Definitions of the penalties of this package. */
export const penaltyDefinitions: readonly PenaltyDefinition<PenaltyOptions>[] = factories.map(
  ({ definition }) => definition,
);

/** Names of the penalties of this package. */
export const penaltyNames: readonly string[] = penaltyDefinitions.map(({ name }) => name);

/**
 * The penalty with the given name. Numbers and switches may be text, as from a command line or a file's metadata.
 * @throws UsageError for an unknown name or option, or an invalid value.
 *
 * @example
 * penaltyNamed("som", { gamma: "5", reduction: "sum" });
 */
export function penaltyNamed(name: string, options: PenaltyOptions = {}): Penalty {
  const factory = factoryNamed(name);
  return factory(parsedOptions(factory, options));
}

/**
 * The penalty with the given name and the options and weight of one of its presets; further options as in {@link penaltyNamed}.
 * @throws UsageError as {@link penaltyNamed}, and for a preset that the penalty does not have
 */
export function presetNamed(name: string, preset: string, options: PenaltyOptions = {}): PenaltyPlan {
  const factory = factoryNamed(name);
  return factory.preset(preset, parsedOptions(factory, options));
}

function factoryNamed(name: string): PenaltyFactory<PenaltyOptions> {
  checkText("the name of a penalty", name);
  const factory = factories.find(({ definition }) => definition.name === name);
  if (!factory) throw new UsageError(`there is no penalty "${name}"; there is ${penaltyNames.join(", ")}`);
  return factory;
}

/** Options with texts converted to the types of their defaults. */
export const parsedOptions = (
  { definition }: PenaltyFactory<PenaltyOptions>,
  options: PenaltyOptions,
): PenaltyOptions => {
  checkOptions(`the penalty ${definition.name}`, options);
  return Object.fromEntries(
    Object.entries(options).map(
      ([key, value]) => [key, fromText(value, typeof definition.defaults[key])] as const,
    ),
  );
};

/** Converts a text to the type of its option. A text that cannot be converted stays a text, and the option then refuses it. */
function fromText(value: number | string | boolean, type: string): number | string | boolean {
  if (typeof value !== "string") return value;
  if (type === "number" && Number.isFinite(decimal(value))) return decimal(value);
  if (type === "boolean" && (value === "true" || value === "false")) return value === "true";
  return value;
}
