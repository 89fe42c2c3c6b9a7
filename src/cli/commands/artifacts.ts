import { rmSync } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Command, Option } from "commander";
import { onExit } from "signal-exit";
import { type OfficialOptimizer, officialOptimizers } from "../../artifacts/optimizer-model.ts";
import { UsageError } from "../../errors.ts";
import { buildArtifacts, readModel, writeCheckpoint, writeModel } from "../../index.ts";
import { notNegative } from "../../numbers.ts";
import { removeLeftovers, temporaryName } from "../../onnx/leftovers.ts";
import { checkWritable, makeFolder } from "../../onnx/write-file.ts";
import { modelFacts } from "../../programs/model-facts.ts";
import { dimensionsOf } from "../dimension-flags.ts";
import { addLossFlags, type LossFlags, lossOptionsOf } from "../loss-flags.ts";
import { clipFlags } from "../optimizer-flags.ts";
import { given, numberIn } from "../options.ts";
import { checkOutput, type OutputFlags } from "../output.ts";
import {
  addPenaltyFlags,
  asksForPenalty,
  checkBesideOwnPenalty,
  type PenaltyFlags,
  penaltiesOf,
} from "../penalty-flags.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";
import { defaultBatch } from "../train-flags.ts";

interface Flags extends SharedFlags, OutputFlags, LossFlags, PenaltyFlags {
  readonly optimizer: OfficialOptimizer;
  readonly weightDecay?: number;
  readonly batchNorm?: "train" | "frozen";
}

/** The files that are written into the folder. */
const fileNames = ["training_model.onnx", "eval_model.onnx", "optimizer_model.onnx", "checkpoint"] as const;

/** `artifacts`: writes the files that training sessions of ONNX Runtime load. */
export function define(command: Command, streams: CommandStreams): void {
  command
    .argument("<model>", "an ONNX model")
    .option(
      "-o, --output <folder>",
      "where to write training_model.onnx, eval_model.onnx, optimizer_model.onnx and checkpoint (default: model.artifacts in the folder of model.onnx)",
    )
    .addOption(
      new Option("--optimizer <name>", "what the optimizer model computes")
        .choices(officialOptimizers)
        .default("adamw"),
    )
    .option("--weight-decay <number>", "weight decay of adamw (default: 0)", numberIn(notNegative))
    .addOption(
      new Option(
        "--batch-norm <how>",
        "normalize with batch statistics (train) or with the stored ones (frozen); default: train",
      ).choices(["train", "frozen"]),
    );
  for (const { flag } of clipFlags) command.addOption(new Option(`--${flag} <number>`).hideHelp());
  addLossFlags(
    command,
    `samples per step, if the model leaves the batch size open (default: ${defaultBatch})`,
  );
  addPenaltyFlags(command, "none; som when another of these flags is given");
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const clip = clipFlags.find(({ key }) => Reflect.has(flags, key));
    if (clip) {
      throw new UsageError(
        `--${clip.flag} has no place in artifacts: the optimizer models of ONNX Runtime's training API (${officialOptimizers.join(", ")}) do not clip; use sorth-onnx train or step`,
      );
    }
    const folder = flags.output ?? join(dirname(path), `${basename(path).replace(/\.onnx$/i, "")}.artifacts`);
    const existing = await stat(folder).catch(() => undefined);
    if (existing?.isFile())
      throw new UsageError(`cannot write into "${folder}": it is a file; give -o a folder`);
    for (const name of existing ? fileNames : []) await checkOutput(join(folder, name), terminal.write);
    await checkWritable(join(folder, "artifacts"));
    const model = await readModel(path);
    const { block, freeBatch } = modelFacts(model, dimensionsOf(flags));
    const hasLoss = flags.loss !== undefined || block?.mark.objective !== undefined;
    const objective = flags.objective ?? (hasLoss ? undefined : ["cross-entropy"]);
    const injected = block !== undefined;
    if (injected) checkBesideOwnPenalty(flags);
    const artifacts = await buildArtifacts(model, {
      ...(freeBatch && { batch: defaultBatch }),
      ...lossOptionsOf({ ...flags, ...given({ objective }) }),
      // Like those of the official builder, artifacts have no penalty unless the flags request one.
      ...(!injected && asksForPenalty(flags) && { penalties: penaltiesOf(flags) }),
      ...given({ optimizer: flags.optimizer, batchNorm: flags.batchNorm }),
      ...(flags.weightDecay !== undefined && { adamw: { weightDecay: flags.weightDecay } }),
      onMessage: (message) => terminal.note(message),
    });
    makeFolder(folder);
    // Write all files before renaming the first, so that the folder never mixes files of two calls.
    const place = join(folder, "artifacts");
    await removeLeftovers(place);
    const staging = temporaryName(place);
    makeFolder(staging);
    const forget = onExit(() => rmSync(staging, { recursive: true, force: true }));
    try {
      await writeModel(artifacts.training, join(staging, "training_model.onnx"));
      await writeModel(artifacts.eval, join(staging, "eval_model.onnx"));
      await writeModel(artifacts.optimizer, join(staging, "optimizer_model.onnx"));
      await writeCheckpoint(join(staging, "checkpoint"), artifacts.checkpoint);
      for (const name of fileNames) await rename(join(staging, name), join(folder, name));
    } finally {
      await rm(staging, { recursive: true, force: true });
      forget();
    }
    for (const name of fileNames) await terminal.wrote(path, join(folder, name));
  });
}
