import type { Command } from "commander";
import { decayRate, notNegative } from "../numbers.ts";
import type { Optimizer } from "../optimizers/optimizer.ts";
import { optimizerNamed, optimizerNames } from "../optimizers/table.ts";
import { parseSchedule, scheduleNames } from "../schedules/schedules.ts";
import { given, numberIn } from "./options.ts";

/** Flags that choose how parameters are updated. */
export interface OptimizerFlags {
  readonly optimizer: string;
  readonly lr?: number;
  readonly momentum?: number;
  readonly nesterov?: true;
  readonly weightDecay?: number;
  readonly schedule?: string;
  readonly penaltySchedule?: string;
}

/** Declares those that say what an update computes. */
export function addUpdateFlags(command: Command): void {
  command
    .option("--optimizer <name>", optimizerNames.join(", "), "adamw")
    .option(
      "--momentum <number>",
      "sgd: share of the last direction that is kept (default: 0)",
      numberIn(decayRate),
    )
    .option("--nesterov", "sgd: look ahead along the new direction")
    .option(
      "--weight-decay <number>",
      "weight decay (default: 0.01 for adamw, else 0)",
      numberIn(notNegative),
    );
}

/** Declares those that change from step to step: a step graph has inputs for them. */
export function addRateFlags(command: Command): void {
  const schedules = `${scheduleNames.join(", ")}, with options as in cosine:warmup=100,floor=0.1`;
  command
    .option("--lr <number>", "learning rate (default: 0.001)", numberIn(notNegative))
    .option("--schedule <name>", `of the learning rate: ${schedules} (default: constant)`, schedule)
    .option("--penalty-schedule <name>", "of the penalty's weight, written likewise", schedule);
}

/** The optimizer that the flags choose. @throws UsageError for an option that it does not have. */
export function optimizerOf({ optimizer, momentum, nesterov, weightDecay }: OptimizerFlags): Optimizer {
  return optimizerNamed(optimizer, given({ momentum, nesterov, weightDecay }));
}

/** A schedule stays text, so that a checkpoint can hold it; what is wrong with it is said at once. */
function schedule(text: string): string {
  parseSchedule(text);
  return text;
}
