import { join } from "node:path";
import type { Command } from "commander";
import { isReadByWorkers } from "../../distribute/converted-data-node.ts";
import { distributeTrainer } from "../../distribute/distribute-node.ts";
import { checkFolder } from "../../distribute/write-node.ts";
import { UsageError } from "../../errors.ts";
import { readModel } from "../../index.ts";
import { counted } from "../../passes/pass.ts";
import { modelFacts } from "../../programs/model-facts.ts";
import { listedWithSource } from "../../programs/tell-parameters.ts";
import { dataRecord } from "../../runtime/data-record.ts";
import { updatesBatchNorm } from "../averaged-batch-norm.ts";
import { withRecoveredBatchNorm } from "../batch-norm-flag.ts";
import { trainerFor } from "../begin-run.ts";
import { withClasses } from "../class-list.ts";
import { dimensionsOf } from "../dimension-flags.ts";
import {
  checkDistributed,
  checkTakenOver,
  type DistributeFlags,
  declareDistribute,
  wordsOfTraining,
} from "../distribute-flags.ts";
import { fitOf } from "../fit-flags.ts";
import { given } from "../options.ts";
import { outputBeside } from "../output.ts";
import { readData } from "../read-data.ts";
import type { RunSettings } from "../run-settings.ts";
import { checkTaughtData } from "../taught-data.ts";
import { type CommandStreams, Terminal } from "../terminal.ts";
import { type Call, callOf, checkEffects } from "../train-call.ts";
import { quoted } from "../watch-run.ts";

/** `distribute`: writes a run for several processes. */
export function define(command: Command, streams: CommandStreams, typed: readonly string[]): void {
  const trainingFlags = declareDistribute(command);
  command.action(async (argument: string | undefined, flags: DistributeFlags) => {
    const terminal = new Terminal(streams, flags);
    checkDistributed(command, flags);
    // The data may come later, with run.py.
    const asked = { ...flags, data: flags.data ?? (flags.resume === undefined ? "" : undefined) };
    const call = await callOf(command, argument, asked as DistributeFlags, trainingFlags);
    const { path } = call;
    const folder = flags.output ?? folderBeside(call.model, flags.resume);
    await checkFolder(folder, terminal.write.force);
    const remark = (message: string) => terminal.note(message);
    for (const text of checkTakenOver(command, call.flags)) remark(text);
    const begun = await withClasses(await readModel(path), flags, remark);
    const facts = modelFacts(begun, dimensionsOf(flags));
    if (facts.artifact !== undefined) {
      throw new UsageError(
        `"${path}" is a file of ONNX Runtime's training tools: distribute takes the model itself`,
      );
    }
    checkEffects(call.flags, facts);
    const spec = await specOf(flags, call);
    const read =
      spec === undefined
        ? undefined
        : await readData(spec, terminal, call.flags, { model: begun, conversion: call.settings?.data });
    const recovers = flags.batchNorm?.startsWith("recover") && flags.resume === undefined;
    if (recovers && !read) throw new UsageError("--batch-norm recover needs data: give --data too");
    const normalize = read?.normalize ?? (flags.normalize === "data" ? undefined : flags.normalize);
    if (flags.normalize === "data" && !read)
      throw new UsageError("--normalize data needs data: give --data too");
    const model =
      recovers && read
        ? await withRecoveredBatchNorm(begun, read.train, flags, {
            ...{ normalize, onMessage: remark, signal: terminal.interrupted() },
          })
        : begun;
    const trainer = await trainerFor({
      ...{ call, command, model, facts, rescued: undefined, train: read?.train },
      ...{ normalize, onMessage: remark, text: read?.conversion?.text },
    });
    const { teacher } = trainer.options;
    const asRead = read && dataRecord(read, trainer);
    if (asRead) checkTaughtData(teacher, asRead);
    const { epochs, validation, from } = call.flags;
    const { validation: _, ...decides } = fitOf(call.flags);
    const fit = { ...decides, ...given({ epochs, validation, from }) };
    const settings: RunSettings = call.settings ?? {
      ...{ version: 1, folder: process.cwd(), arguments: wordsOfTraining(typed), artifact: false },
    };
    const { workers, exact } = flags;
    const { mixup: _mixup, ...augment } = call.flags.augment ?? {};
    const written = await distributeTrainer(
      trainer,
      {
        ...{ output: folder, force: terminal.write.force, fit, onMessage: remark },
        ...given({ workers, exact, data: read, source: spec }),
      },
      {
        ...{ settings: { ...settings }, conversion: call.settings?.data },
        updatesBatchNorm: updatesBatchNorm(trainer, call.flags),
        ...(Object.keys(augment).length > 0 && { augment }),
      },
    );
    await trainer.release();
    if (flags.json) {
      terminal.json(written);
      return;
    }
    const learned = trainer.step.ports.parameters;
    terminal.note(`trained: ${counted(learned.length, "parameter")}: ${listedWithSource(learned)}`);
    const start = written.workers > 1 ? `torchrun --nproc-per-node ${written.workers}` : "python";
    terminal.print(`${path} → ${folder}`);
    const trained = "-o trained.onnx";
    const run = `${start} ${quoted(join(folder, "run.py"))} --data ${quoted(spec ?? (call.data || "mnist"))} --checkpoint run`;
    terminal.print(`to train: ${written.exports ? `${run} ${trained}` : run}`);
    if (!written.exports) terminal.print(`then: sorth-onnx export run ${trained}`);
  });
}

/** The data to read now: those that are named, or those of a resumed run that workers cannot read themselves. */
async function specOf(
  { data, resume }: DistributeFlags,
  { data: before, settings }: Call,
): Promise<string | undefined> {
  if (data !== undefined || resume === undefined || before === "") return data;
  return (await isReadByWorkers(before, settings?.data)) ? undefined : before;
}

/** The folder that is written where -o does not name one. */
const folderBeside = (model: string, resumed: string | undefined): string =>
  resumed === undefined
    ? outputBeside(model, "distributed", "").replace(/\.$/, "")
    : `${resumed.replace(/[\\/]+$/, "").replace(/\.run$/, "")}.distributed`;
