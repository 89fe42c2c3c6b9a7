import type { Command } from "commander";
import { checkAdapterOutput } from "../../adapters/adapter-files-node.ts";
import { withConversion } from "../../data/conversion.ts";
import { UsageError } from "../../errors.ts";
import { type CheckpointKind, exportCheckpoint, rescuedInference } from "../../index.ts";
import { writeWithData } from "../../onnx/files-node.ts";
import { addAdapterOutput, checkHasAdapters, writeAdapterOf } from "../adapter-flags.ts";
import { addFromFlag } from "../fit-flags.ts";
import { given } from "../options.ts";
import { addOutputFlag, chosenOutput, type OutputFlags, outputBeside } from "../output.ts";
import { readRunSettings } from "../run-settings.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, OutputFlags {
  readonly checkpoint?: string;
  readonly from: CheckpointKind;
  readonly keepPenalty?: true;
  readonly raw?: true;
  readonly adapter?: string;
  readonly prediction?: string;
}

/** `export`: writes the trained model of a run. */
export function define(command: Command, streams: CommandStreams): void {
  command
    .argument("[folder]", "a folder that train has written: model.trained.run")
    .option("--checkpoint <folder>", "the same folder, given as a flag")
    .option("--raw", "the weights themselves, for a run that keeps their average (--ema, --swa)")
    .option("--keep-penalty", "keep an injected penalty in the trained model")
    .option(
      "--prediction <name>",
      "for a run of a training_model.onnx: the value to write as the model's output (default: the input of the cross-entropy)",
    );
  addAdapterOutput(command);
  addFromFlag(
    command,
    "which weights: last (of the last step), best (of the best epoch), or epoch-N of an epoch that --keep kept",
    "last",
  );
  addOutputFlag(command, "trained.last", "where to write the model");
  command.action(async (argument: string | undefined, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const folder = argument ?? flags.checkpoint;
    if (folder === undefined)
      throw new UsageError("missing the run's folder: sorth-onnx export model.trained.run");
    if (argument !== undefined && flags.checkpoint !== undefined) {
      throw new UsageError("give the run's folder once: as an argument, or with --checkpoint");
    }
    // model.trained.run → model.trained.best.onnx
    const standard = outputBeside(folder.replace(/[\\/]+$/, "").replace(/\.run$/, ""), flags.from);
    const output = await chosenOutput(flags, standard, terminal.write);
    const settings = await readRunSettings(folder);
    if (flags.prediction !== undefined && !settings?.artifact) {
      throw new UsageError("--prediction belongs to runs of a training_model.onnx");
    }
    const chosen = {
      from: flags.from,
      ...given({ keepPenalty: flags.keepPenalty, averaged: flags.raw && false }),
    };
    if (flags.adapter !== undefined) {
      await checkAdapterOutput(flags.adapter, terminal.write);
      const apart = await exportCheckpoint(folder, { ...chosen, merge: false });
      checkHasAdapters(apart, { adapter: flags.adapter });
      await writeAdapterOf(apart, flags.adapter, terminal);
    }
    const model = await exportCheckpoint(folder, chosen);
    const inference = settings?.artifact ? rescuedInference(model, flags.prediction) : model;
    const data = await writeWithData(
      settings?.data ? withConversion(inference, settings.data) : inference,
      output,
      terminal.write,
    );
    await terminal.wrote(`${folder}/${flags.from}.safetensors`, output, data);
  });
}
