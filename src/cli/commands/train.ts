import type { Command } from "commander";
import type { EvaluationResult } from "../../index.ts";
import { counted } from "../../passes/pass.ts";
import { lossesText } from "../evaluation-text.ts";
import { type CommandStreams, Terminal } from "../terminal.ts";
import { declare, type TrainFlags } from "../train-call.ts";
import { trainOne } from "../train-run.ts";
import { seedsText, severalRuns, trainSeeds } from "../train-seeds.ts";

/** `train`: trains a model. */
export function define(command: Command, streams: CommandStreams, typed: readonly string[]): void {
  declare(command);
  command.action(async (_path: string | undefined, flags: TrainFlags) => {
    const terminal = new Terminal(streams, flags);
    const context = { streams, signal: terminal.interrupted() };
    const several = await severalRuns(typed, flags);
    if (several) {
      const summary = await trainSeeds(several, context, terminal);
      if (flags.json) terminal.json(summary);
      else terminal.print(seedsText(summary, terminal.colors.bold));
      return;
    }
    const { output, checkpoint, end, from, exportedStep, test } = await trainOne(typed, context);
    if (flags.json) terminal.json({ output, checkpoint, ...end, from, exportedStep, ...(test && { test }) });
    else if (test) terminal.print(figuresText(test));
  });
}

function figuresText(figures: EvaluationResult): string {
  const { loss, accuracy, perplexity, losses, accuracies, samples, metrics = {} } = figures;
  const share = accuracy === undefined ? "" : `accuracy ${(100 * accuracy).toFixed(2)} %, `;
  const tokens = perplexity === undefined ? "" : `perplexity ${perplexity.toPrecision(4)}, `;
  const others = Object.entries(metrics)
    .filter(([name]) => !["accuracy", perplexity === undefined ? "" : "perplexity"].includes(name))
    .map(([name, value]) => `${name} ${value.toPrecision(4)}, `);
  const each = lossesText({ losses, accuracies }).map((text) => ` (${text})`);
  return `test: ${share}${tokens}${others.join("")}loss ${loss.toPrecision(4)}${each.join("")} on ${counted(samples, "sample")}`;
}
