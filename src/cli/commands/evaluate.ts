import type { Command } from "commander";
import { conversionOf } from "../../data/conversion.ts";
import { evaluateModel, readModel } from "../../index.ts";
import { countFromZero } from "../../numbers.ts";
import { evaluationText } from "../evaluation-text.ts";
import {
  addModelRunFlags,
  dataSourceOf,
  type ModelRunFlags,
  modelRunOf,
  partOf,
} from "../model-run-flags.ts";
import { numberIn } from "../options.ts";
import { readData } from "../read-data.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, ModelRunFlags {
  readonly worst: number;
  readonly json?: true;
}

/** `evaluate`: figures of a model on data. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "an ONNX model with its weights");
  addModelRunFlags(command, "the loss to compute, which also decides on the other figures");
  command
    .option(
      "--worst <count>",
      "how many of the samples with the highest loss to list",
      numberIn(countFromZero),
      10,
    )
    .option("--json", "print all figures as JSON");
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const source = dataSourceOf(flags);
    const model = await readModel(path);
    const data = await readData(source, terminal, flags, { model, conversion: conversionOf(model) });
    const part = partOf(data, flags);
    const { worst } = flags;
    const options = { ...modelRunOf(flags, data.normalize, terminal), worst };
    const evaluation = await evaluateModel(model, part, options);
    if (flags.json) terminal.json(evaluation);
    else
      terminal.print(
        evaluationText(evaluation, { data: part.name, width: terminal.width, paint: terminal.colors.bold }),
      );
  });
}
