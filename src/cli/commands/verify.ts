import type { Command } from "commander";
import { SorthError } from "../../errors.ts";
import { loadData, readModel, sampleFeeds, verify } from "../../index.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "../dimension-flags.ts";
import { given, wholeNumber } from "../options.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, DimensionFlags {
  readonly data?: string;
  readonly seed?: number;
  readonly json?: true;
}

/** Samples that are compared where --batch does not say. */
const defaultSamples = 4;

/** `verify`: checks an injected model against its original. */
export function define(command: Command, streams: CommandStreams): void {
  command
    .argument("<original>", "the model before inject")
    .argument("<injected>", "the model after inject")
    .option("--data <source>", "samples to compare on: mnist or an .npz file (default: random numbers)")
    .option("--seed <number>", "seed of random numbers and directions (default: 1)", wholeNumber)
    .option("--json", "the whole report for machines");
  addDimensionFlags(command, `samples to compare on (default: ${defaultSamples})`);
  command.action(async (originalPath: string, injectedPath: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const original = await readModel(originalPath);
    const injected = await readModel(injectedPath);
    const samples = flags.data === undefined ? undefined : (await loadData(flags.data)).train;
    const { passed, checks } = await verify(original, injected, {
      ...dimensionsOf(flags),
      ...given({ seed: flags.seed }),
      ...(samples && { feeds: sampleFeeds(injected, samples, flags.batch ?? defaultSamples) }),
    });
    const { green, red, dim } = terminal.colors;
    const marks = { passed: green("passed"), failed: red("FAILED"), noted: dim("noted ") };
    if (flags.json) terminal.json({ passed, checks });
    else
      for (const { status, name, detail } of checks) terminal.print(`${marks[status]}  ${name}: ${detail}`);
    const failed = checks.filter(({ status }) => status === "failed").length;
    if (!passed) throw new SorthError(`${failed} of ${checks.length} checks failed on ${injectedPath}`);
  });
}
