import type { Command } from "commander";
import { mergeAdapters, readModel, writeModel } from "../../index.ts";
import { checkIsNoData } from "../../onnx/files-node.ts";
import { counted } from "../../passes/pass.ts";
import { adaptersOf, weightedFile } from "../adapter-flags.ts";
import { repeated } from "../options.ts";
import { addOutputFlag, chosenOutput, type OutputFlags, outputBeside } from "../output.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, OutputFlags {
  readonly adapter?: readonly ReturnType<typeof weightedFile>[];
}

/** `merge`: folds adapters into the weights of a model. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument(
    "<model>",
    "an ONNX model: the one that the adapter was trained on, or one with adapters in it",
  );
  command.option(
    "--adapter <file[:factor]>",
    "an adapter from train --adapter or from PEFT, or its folder; adapter:0.5 adds half of it, adapter:-1 takes it out again; may be repeated",
    repeated(weightedFile),
  );
  addOutputFlag(command, "merged", "where to write the merged model");
  command.action(async (path: string, { adapter: files = [], ...flags }: Flags) => {
    const terminal = new Terminal(streams, flags);
    const output = await chosenOutput(flags, outputBeside(path, "merged"), terminal.write);
    const model = await readModel(path);
    await checkIsNoData(output, model);
    const adapters = await adaptersOf(files);
    await writeModel(await mergeAdapters(model, adapters), output, terminal.write);
    await terminal.wrote(path, output);
    for (const [i, { adapter, weight = 1 }] of adapters.entries()) {
      const share = weight === 1 ? "" : `, times ${weight}`;
      terminal.note(
        `merged: ${files[i]?.path}, ${adapter.ia3 ? "factors (IA³)" : `rank ${adapter.rank}`}, ${counted(adapter.layers.length, "layer")}${share}`,
      );
    }
  });
}
