import type { Command } from "commander";
import { fedInputs, fixedBatches } from "../../analysis/dimensions.ts";
import { blockOf } from "../../block/block.ts";
import { conversionOf } from "../../data/conversion.ts";
import { SorthError, UsageError } from "../../errors.ts";
import { graphOf } from "../../graph/model-graph.ts";
import { type Model, readModel, sampleFeeds, strip, verify } from "../../index.ts";
import { sampleChunks } from "../../measure/sample-chunks.ts";
import { visible } from "../../visible.ts";
import { addDataFlags, checkHasData, type DataFlags } from "../data-flags.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "../dimension-flags.ts";
import { given, number, wholeNumber } from "../options.ts";
import { type ReadData, readData } from "../read-data.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, DimensionFlags, DataFlags {
  readonly data?: string;
  readonly seed?: number;
  readonly budget?: number;
  readonly json?: true;
}

/** Default number of samples to compare. */
const defaultSamples = 4;

/** `verify`: checks an injected model against its original. */
export function define(command: Command, streams: CommandStreams): void {
  command
    .usage("[options] [original] <injected>")
    .argument("<models...>", "the model before inject, if it is at hand, and the model after inject")
    .option("--data <source>", "samples to compare on: mnist or an .npz file (default: random numbers)")
    .option("--seed <number>", "seed for random inputs and directions (default: 1)", wholeNumber)
    .option(
      "--budget <number>",
      "billions of multiplications allowed for float64 references; skips larger layers, 0 checks all (default: 12)",
      number,
    )
    .option("--json", "print the whole report as JSON");
  const dataFlags = addDataFlags(command);
  addDimensionFlags(command, `samples to compare on (default: ${defaultSamples})`);
  command.action(async (paths: string[], flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const injectedPath = paths.at(-1) ?? "";
    checkHasData(command, dataFlags, "random numbers need none");
    if (paths.length > 2) {
      throw new UsageError(
        `verify compares two models: the original and the injected one, not ${paths.length}`,
      );
    }
    const injected = await readModel(injectedPath);
    const original =
      paths.length === 2 ? await readModel(paths[0] ?? "") : originalIn(injected, injectedPath);
    if (paths.length === 1) terminal.note(`checked against the original that "${injectedPath}" gives back`);
    const to = { model: injected, conversion: conversionOf(injected), measures: true };
    const data = flags.data === undefined ? undefined : await readData(flags.data, terminal, flags, to);
    const { passed, checks } = await verify(original, injected, {
      ...dimensionsOf(flags),
      ...given({ seed: flags.seed, budget: flags.budget }),
      ...(data && { feeds: await samplesOf(injected, data, flags, terminal) }),
    });
    const { green, red, dim } = terminal.colors;
    const marks = { passed: green("passed"), failed: red("FAILED"), noted: dim("noted ") };
    if (flags.json) terminal.json({ passed, checks });
    else
      for (const { status, name, detail } of checks)
        terminal.print(`${marks[status]}  ${visible(name)}: ${visible(detail)}`);
    const failed = checks.filter(({ status }) => status === "failed").length;
    if (!passed) throw new SorthError(`${failed} of ${checks.length} checks failed on ${injectedPath}`);
  });
}

/** The first samples of data: as many as the flag says, else as the model fixes. */
async function samplesOf(model: Model, { train, normalize }: ReadData, { batch }: Flags, terminal: Terminal) {
  const graph = graphOf(model);
  const [fixed] = fixedBatches(fedInputs(graph));
  const count = batch ?? fixed ?? defaultSamples;
  const onMessage = (message: string) => terminal.note(message);
  const feeds = await sampleFeeds(model, train, count, { normalize, onMessage });
  // Several inputs of a sample may be more rows than the model takes at once.
  return fixed === count ? (sampleChunks(graph, feeds, fixed).chunks[0] ?? feeds) : feeds;
}

/** Restores the original model from an injected one. @throws UsageError when nothing was injected into it */
function originalIn(injected: Model, path: string): Model {
  if (!blockOf(graphOf(injected))) {
    throw new UsageError(
      `no penalty was injected into "${path}"; give verify the file that inject has written, or the original and that file`,
    );
  }
  return strip(injected);
}
