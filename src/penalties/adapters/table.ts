import { UsageError } from "../../errors.ts";
import type { PenaltyFactory } from "../define.ts";
import type { Penalty, PenaltyDefinition, PenaltyOptions } from "../penalty.ts";
import { parsedOptions, penaltyDefinitions, penaltyNamed, penaltyNames } from "../table.ts";
import { adalora } from "./adalora.ts";
import { oLora } from "./o-lora.ts";
import { oplora } from "./oplora.ts";

const factories = [oLora, oplora, adalora].map(
  (factory) => factory as unknown as PenaltyFactory<PenaltyOptions>,
);

/** Names of the penalties that act on adapters alone. */
export const adapterPenaltyNames: readonly string[] = factories.map(({ definition }) => definition.name);

/** Definitions of all penalties that the command line knows by name: those on layers, then those on adapters. */
export const allPenaltyDefinitions: readonly PenaltyDefinition<PenaltyOptions>[] = [
  ...penaltyDefinitions,
  ...factories.map(({ definition }) => definition),
];

/** The penalty with the given name, one on adapters too. @throws UsageError as `penaltyNamed` does */
export function anyPenaltyNamed(name: string, options: PenaltyOptions = {}): Penalty {
  const factory = factories.find(({ definition }) => definition.name === name);
  if (factory) return factory(parsedOptions(factory, options));
  if (penaltyNames.includes(name)) return penaltyNamed(name, options);
  const names = allPenaltyDefinitions.map((definition) => definition.name).join(", ");
  throw new UsageError(`there is no penalty "${name}"; there is ${names}`);
}
