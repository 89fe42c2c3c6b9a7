import type { Command } from "commander";
import { UsageError } from "../../errors.ts";
import { innerValues, readModel, tap, writeModel } from "../../index.ts";
import { checkIsNoData } from "../../onnx/files-node.ts";
import { formatTable } from "../../report/table.ts";
import type { InnerValueInfo } from "../../tap/tap.ts";
import { given, patterns, positiveInteger } from "../options.ts";
import { addOutputFlag, chosenOutput, type OutputFlags, outputBeside } from "../output.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, OutputFlags {
  readonly include?: RegExp;
  readonly exclude?: RegExp;
  readonly op?: RegExp;
  readonly limit?: number;
  readonly list?: true;
  readonly json?: true;
}

/** `tap`: makes inner values outputs. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "an ONNX model");
  addOutputFlag(command, "tapped", "where to write the model with the additional outputs");
  command
    .option(
      "--include <pattern>",
      "values whose name matches: their own, that of their node or module, that of the layer's weight; repeatable",
      patterns,
    )
    .option("--exclude <pattern>", "leave out values whose name matches; repeatable", patterns)
    .option("--op <pattern>", "only results of operators that match: '^Relu$'; repeatable", patterns)
    .option("--limit <number>", "most values that may become outputs (default: 1000)", positiveInteger)
    .option("--list", "print the names that a pattern may match, and write nothing")
    .option("--json", "with --list: print all names of every value as JSON");
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const { include, exclude, op, limit } = flags;
    if (flags.list) {
      const others = ["output", "include", "exclude", "op", "limit", "force"].filter((name) => name in flags);
      if (others.length > 0) {
        throw new UsageError(
          `--list prints all values and writes nothing: leave out ${others.map((name) => `--${name}`).join(", ")}`,
        );
      }
      const values = await innerValues(await readModel(path));
      if (flags.json) terminal.json(values);
      else terminal.print(listText(values, terminal.colors.bold));
      return;
    }
    if (flags.json) throw new UsageError("--json belongs to --list");
    const output = await chosenOutput(flags, outputBeside(path, "tapped"), terminal.write);
    const model = await readModel(path);
    await checkIsNoData(output, model);
    const tapped = await tap(model, {
      ...given({ include, exclude, op, limit }),
      onMessage: (message) => terminal.note(message),
    });
    await writeModel(tapped, output, terminal.write);
    await terminal.wrote(path, output);
    const before = new Set(model.proto.graph?.output?.map(({ name }) => name));
    const added = (tapped.proto.graph?.output ?? []).filter(({ name }) => !before.has(name));
    terminal.note(`added outputs: ${added.map(({ name }) => name).join(", ")}`);
  });
}

function listText(values: readonly InnerValueInfo[], bold: (text: string) => string): string {
  const columns = ["value", "operator", "shape", "also called"].map((heading) => ({ heading }));
  const rows = values.map(({ name, op, type, shape, names, output }) => [
    name,
    op,
    type === undefined ? "no tensor" : `${type} ${shape ? `[${shape.join(", ")}]` : "of unknown rank"}`,
    [...names.filter((other) => other !== name), ...(output ? ["(an output)"] : [])].join(", "),
  ]);
  return formatTable(columns, rows, bold);
}
