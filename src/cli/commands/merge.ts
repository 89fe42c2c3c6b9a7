import type { Command } from "commander";
import { mergeAdapters, readModel } from "../../index.ts";
import { checkIsNoData, writeWithData } from "../../onnx/files-node.ts";
import { counted } from "../../passes/pass.ts";
import { adaptersOf, weightedFile } from "../adapter-flags.ts";
import { given, patterns, repeated } from "../options.ts";
import { addOutputFlag, chosenOutput, type OutputFlags, outputBeside } from "../output.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, OutputFlags {
  readonly adapter?: readonly ReturnType<typeof weightedFile>[];
  readonly include?: RegExp;
  readonly exclude?: RegExp;
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
  command
    .option(
      "--include <pattern>",
      "merge only into layers whose name matches: their module, node or weight; repeatable",
      patterns,
    )
    .option("--exclude <pattern>", "leave out layers whose name matches; repeatable", patterns);
  addOutputFlag(command, "merged", "where to write the merged model");
  command.action(async (path: string, { adapter: files = [], include, exclude, ...flags }: Flags) => {
    const terminal = new Terminal(streams, flags);
    const output = await chosenOutput(flags, outputBeside(path, "merged"), terminal.write);
    const model = await readModel(path);
    await checkIsNoData(output, model);
    const adapters = await adaptersOf(files);
    const options = { ...given({ include, exclude }), onMessage: (text: string) => terminal.note(text) };
    const merged = await mergeAdapters(model, adapters, options);
    const data = await writeWithData(merged, output, terminal.write);
    await terminal.wrote(path, output, data);
    for (const [i, { adapter, weight = 1 }] of adapters.entries()) {
      const share = weight === 1 ? "" : `, times ${weight}`;
      // Of patterns a message above says how many layers they choose.
      const layers = include || exclude ? "" : `, ${counted(adapter.layers.length, "layer")}`;
      terminal.note(
        `merged: ${files[i]?.path}, ${adapter.ia3 ? "factors (IA³)" : `rank ${adapter.rank}`}${layers}${share}`,
      );
    }
  });
}
