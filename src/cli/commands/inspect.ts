import { open } from "node:fs/promises";
import type { Command } from "commander";
import { isCheckpoint } from "../../artifacts/checkpoint.ts";
import { UsageError } from "../../errors.ts";
import { inspect, readCheckpoint, readModel } from "../../index.ts";
import { checkpointReport, checkpointText } from "../checkpoint-text.ts";
import { addDimensionFlags, type DimensionFlags, dimensionsOf } from "../dimension-flags.ts";
import { inspectionText } from "../inspection-text.ts";
import { addParameterFlags, type ParameterFlags, parametersOf } from "../parameter-flags.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, DimensionFlags, ParameterFlags {
  readonly json?: true;
}

/** `inspect`: shows what the tool finds in a model. */
export function define(command: Command, streams: CommandStreams): void {
  command
    .argument("<model>", "an ONNX model, or a checkpoint of ONNX Runtime's training API")
    .option("--json", "print the whole report as JSON");
  addParameterFlags(command);
  addDimensionFlags(command, "batch size for the number of rows of each layer, if the model leaves it open");
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    if (await beginsAsCheckpoint(path)) {
      const checkpoint = await readCheckpoint(path);
      const given = command.options.filter(
        (option) =>
          option.attributeName() in flags && !["json", "quiet", "debug"].includes(option.attributeName()),
      );
      if (given.length > 0) {
        throw new UsageError(
          `"${path}" is a checkpoint, to which these flags do not apply: leave out ${given.map(({ long }) => long).join(", ")}`,
        );
      }
      if (flags.json) terminal.json(checkpointReport(checkpoint));
      else terminal.print(checkpointText(path, checkpoint, terminal.colors.bold));
      return;
    }
    const report = await inspect(await readModel(path), {
      ...dimensionsOf(flags),
      ...parametersOf(flags),
    });
    if (flags.json) terminal.json(report);
    else terminal.print(inspectionText(path, report, terminal.colors.bold));
  });
}

/** Whether a file begins like a checkpoint. False for a file that cannot be read: reading it as a model reports why. */
async function beginsAsCheckpoint(path: string): Promise<boolean> {
  const file = await open(path).catch(() => undefined);
  if (!file) return false;
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(8), 0, 8, 0);
    return isCheckpoint(buffer.subarray(0, bytesRead));
  } catch {
    return false;
  } finally {
    await file.close();
  }
}
