import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { hasFreeBatch } from "../../analysis/dimensions.ts";
import { type OfficialOptimizer, officialOptimizers } from "../../artifacts/optimizer-model.ts";
import { graphOf } from "../../graph/model-graph.ts";
import { buildArtifacts, readModel, writeCheckpoint, writeModel } from "../../index.ts";
import { blockOf } from "../../inject/block.ts";
import { dimensionsOf } from "../dimension-flags.ts";
import { addLossFlags, type LossFlags, lossOptionsOf } from "../loss-flags.ts";
import { given, number } from "../options.ts";
import { checkOutput } from "../output.ts";
import { addPenaltyFlags, type PenaltyFlags, penaltiesOf } from "../penalty-flags.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, LossFlags, PenaltyFlags {
  readonly output: string;
  readonly optimizer: OfficialOptimizer;
  readonly weightDecay?: number;
  readonly batchNorm?: "train" | "frozen";
}

/** Batch size of a model that leaves it open. */
const defaultBatch = 64;

/** `artifacts`: writes what the sessions of ONNX Runtime's training API train. */
export function define(command: Command, streams: CommandStreams): void {
  command
    .argument("<model>", "an ONNX model")
    .requiredOption(
      "-o, --output <folder>",
      "where to write training_model.onnx, eval_model.onnx, optimizer_model.onnx and checkpoint",
    )
    .addOption(
      new Option("--optimizer <name>", "what the optimizer model computes")
        .choices(officialOptimizers)
        .default("adamw"),
    )
    .option("--weight-decay <number>", "weight decay of adamw (default: 0)", number)
    .addOption(
      new Option("--batch-norm <how>", "batch statistics, or the stored ones (default: train)").choices([
        "train",
        "frozen",
      ]),
    );
  addLossFlags(command, `samples of a step, where the model leaves that open (default: ${defaultBatch})`);
  addPenaltyFlags(command);
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const model = await readModel(path);
    const graph = graphOf(model);
    const objective = flags.objective ?? (flags.loss === undefined ? "cross-entropy" : undefined);
    const injected = blockOf(graph) !== undefined && flags.penalty === undefined;
    const artifacts = await buildArtifacts(model, {
      ...(hasFreeBatch(graph, dimensionsOf(flags)) && { batch: defaultBatch }),
      ...lossOptionsOf({ ...flags, ...given({ objective }) }),
      ...(!injected && { penalties: penaltiesOf(flags) }),
      ...given({ optimizer: flags.optimizer, batchNorm: flags.batchNorm }),
      ...(flags.weightDecay !== undefined && { adamw: { weightDecay: flags.weightDecay } }),
      onMessage: (message) => terminal.note(message),
    });
    await mkdir(flags.output, { recursive: true });
    const file = (name: string) => join(flags.output, name);
    const writers: readonly (readonly [string, () => Promise<void>])[] = [
      [
        "training_model.onnx",
        () => writeModel(artifacts.training, file("training_model.onnx"), terminal.write),
      ],
      ["eval_model.onnx", () => writeModel(artifacts.eval, file("eval_model.onnx"), terminal.write)],
      [
        "optimizer_model.onnx",
        () => writeModel(artifacts.optimizer, file("optimizer_model.onnx"), terminal.write),
      ],
      ["checkpoint", () => writeCheckpoint(file("checkpoint"), artifacts.checkpoint, terminal.write)],
    ];
    for (const [name] of writers) await checkOutput(file(name), terminal.write);
    const written: string[] = [];
    try {
      for (const [name, write] of writers) {
        await write();
        written.push(name);
      }
    } catch (error) {
      // Files that do not belong together are worse than none.
      for (const name of written) await rm(file(name), { force: true });
      throw error;
    }
    for (const name of written) await terminal.wrote(path, file(name));
  });
}
