import type { Command } from "commander";
import { loadData, readModel, responseAngles, sampleFeeds, weightAngles } from "../../index.ts";
import { responseAngleTable, weightAngleTable } from "../../report/angle-table.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "../dimension-flags.ts";
import { given, number, positiveInteger } from "../options.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, DimensionFlags {
  readonly data?: string;
  readonly samples: number;
  readonly gamma?: number;
  readonly json?: true;
}

/** `angles`: measures the angles between the units of each layer. */
export function define(command: Command, streams: CommandStreams): void {
  command
    .argument("<models...>", "one or more ONNX models")
    .option("--data <source>", "measure response angles too, on this data: mnist or an .npz file")
    .option("--samples <count>", "samples to measure them on", positiveInteger, 512)
    .option("--gamma <number>", "steepness of tanh(γ·response) (default: 10)", number)
    .option("--json", "all figures for machines");
  addDimensionFlags(command, "batch size to run with, where the model leaves it open");
  command.action(async (paths: string[], flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const data = flags.data === undefined ? undefined : await loadData(flags.data);
    const reports = [];
    for (const path of paths) {
      const model = await readModel(path);
      const weights = await weightAngles(model, dimensionsOf(flags));
      if (!data) {
        reports.push({ model: path, weights });
        continue;
      }
      const feeds = sampleFeeds(model, data.test ?? data.train, flags.samples);
      const responses = await responseAngles(model, feeds, {
        ...given({ gamma: flags.gamma, batch: flags.batch }),
      });
      reports.push({ model: path, weights, responses });
    }
    if (flags.json) {
      terminal.json(reports);
      return;
    }
    const { bold } = terminal.colors;
    for (const { model, weights, responses } of reports) {
      terminal.print(`${model}: weight angles (90° is orthogonal)\n${weightAngleTable(weights, bold)}\n`);
      for (const { name, reason } of weights.skipped) terminal.print(`skipped ${name}: ${reason}`);
      if (!responses) continue;
      terminal.print(`${model}: response angles on ${flags.data}\n${responseAngleTable(responses, bold)}\n`);
    }
  });
}
