import { type Command, Option } from "commander";
import { withoutHyphens } from "../name-and-options.ts";
import { count, decayRate, notNegative, properShare } from "../numbers.ts";
import { accumulate } from "../optimizers/accumulate.ts";
import { chain } from "../optimizers/chain.ts";
import { clippings, optimizerFactories, optimizerNames } from "../optimizers/table.ts";
import { defaultsText, parseOptimizer } from "../optimizers/text.ts";
import type { GradientTransformation } from "../optimizers/transformation.ts";
import { parseSchedule, scheduleEntries, scheduleForm } from "../schedules/table.ts";
import { addGroupFlags, type GroupFlags } from "./group-flags.ts";
import { addHelpList } from "./help-list.ts";
import { given, numberIn } from "./options.ts";

/** Flags that choose how parameters are updated, besides those of {@link clipFlags}. */
export interface OptimizerFlags extends GroupFlags {
  readonly optimizer: string;
  readonly lr?: number;
  readonly momentum?: number;
  readonly nesterov?: true;
  readonly weightDecay?: number;
  readonly accumulate?: number;
  readonly schedule?: string;
  readonly penaltySchedule?: string;
}

/** Flags of the transformations that can precede an optimizer, and commander's names for their values. */
export const clipFlags = clippings.map((one) => ({
  ...one,
  key: withoutHyphens(one.flag),
}));

/** Declares the flags that decide what an update computes. */
export function addUpdateFlags(command: Command): void {
  command
    .option(
      "--optimizer <name[:key=value,...]>",
      "an optimizer from the list below; its options may follow: adamw:beta1=0.8,weight-decay=0.05",
      optimizerNames[0],
    )
    .option(
      "--momentum <number>",
      "sgd: share of the last direction that is kept (default: 0)",
      numberIn(decayRate),
    )
    .option("--nesterov", "sgd: look ahead along the new direction")
    .option(
      "--weight-decay <number>",
      "weight decay (default: that of the optimizer)",
      numberIn(notNegative),
    );
  for (const { flag, range, summary } of clipFlags) {
    command.option(`--${flag} <number>`, `${summary} (default: off)`, numberIn(range));
  }
  command.option(
    "--accumulate <batches>",
    "update once in this many batches, with the mean of their gradients (default: 1)",
    numberIn(count),
  );
  addGroupFlags(command);
  addHelpList(
    command,
    "Optimizers, with the defaults of their options:",
    optimizerFactories.map(({ definition }) => ({
      name: definition.name,
      text: `${definition.summary}; ${defaultsText(definition).join(", ")}`,
    })),
  );
}

/** Declares the flags whose values change from step to step: a step graph has inputs for them. */
export function addRateFlags(command: Command): void {
  command
    .option("--lr <number>", "learning rate (default: 0.001)", numberIn(notNegative))
    .option(
      "--schedule <name[:key=value,...]>",
      "factor of the learning rate over the run: a schedule from the list below; its options may follow: cosine:warmup=100 (default: constant)",
      schedule,
    )
    .option(
      "--penalty-schedule <schedule>",
      "factor of the penalty's weight over the run, written likewise",
      schedule,
    );
  command.addOption(
    new Option(
      "--share <number>",
      "in place of a weight: the share of the loss that the penalty is to be at the first batch; weights of several penalties then count relative to one another",
    )
      .argParser(numberIn(properShare))
      .conflicts("weight"),
  );
  addHelpList(
    command,
    "Schedules, with their defaults (lengths: 100 steps, 2ep, 10% of the run):",
    scheduleEntries.map((entry) => {
      const [name = "", options] = scheduleForm(entry).split(/:(.*)/);
      return { name, text: [entry.summary, ...(options ? [options.replaceAll(",", ", ")] : [])].join("; ") };
    }),
  );
}

/** The chosen optimizer, behind the chosen transformations. @throws UsageError for an option that the optimizer does not have */
export function optimizerOf(flags: OptimizerFlags): GradientTransformation {
  const { optimizer, momentum, nesterov, weightDecay } = flags;
  return clipped(flags, parseOptimizer(optimizer, given({ momentum, nesterov, weightDecay })));
}

/** Puts what the flags choose before an optimizer: a mean over several batches, then the clipping of its numbers. */
export function clipped(
  flags: Pick<OptimizerFlags, "accumulate">,
  optimizer: GradientTransformation,
): GradientTransformation {
  const asked = clipFlags.flatMap(({ key, make }) => {
    const value: unknown = Reflect.get(flags, key);
    return typeof value === "number" ? [make(value)] : [];
  });
  const whole = asked.length === 0 ? optimizer : chain(...asked, optimizer);
  const { accumulate: batches = 1 } = flags;
  return batches > 1 ? accumulate(batches, whole) : whole;
}

/** Checks a schedule and keeps it as text, so that a checkpoint can hold it. */
function schedule(text: string): string {
  parseSchedule(text);
  return text;
}
