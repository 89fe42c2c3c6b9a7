import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { Command } from "commander";
import { hasFreeBatch } from "../../analysis/dimensions.ts";
import { SorthError, UsageError } from "../../errors.ts";
import { graphOf } from "../../graph/model-graph.ts";
import { loadData, readModel, Trainer, type TrainingEvent, writeModel } from "../../index.ts";
import { blockOf } from "../../inject/block.ts";
import { ProgressLine } from "../../report/progress.ts";
import { dimensionsOf } from "../dimension-flags.ts";
import { given } from "../options.ts";
import { checkNoRun, checkOutput, runFolderOf } from "../output.ts";
import { RunLog } from "../run-log.ts";
import { type CommandStreams, Terminal } from "../terminal.ts";
import {
  addRunFlags,
  addTrainingFlags,
  type RunFlags,
  type TrainingFlags,
  trainerOptions,
} from "../train-flags.ts";

/** `train`: trains a model. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "an ONNX model; with --resume, the one that the run was begun with");
  addRunFlags(command);
  const trainingFlags = addTrainingFlags(command);

  command.action(async (path: string, flags: RunFlags & TrainingFlags) => {
    const terminal = new Terminal(streams, flags);
    const folder = flags.checkpoint ?? flags.resume ?? runFolderOf(flags.output);
    checkFlags(command, flags, trainingFlags);
    await checkOutput(flags.output, terminal.write);
    if (folder !== flags.resume) await checkNoRun(folder, terminal.write);
    const { train, test } = await loadData(flags.data);
    // Said once the first step has shown that model and data fit: an error stands alone.
    const remarks: string[] = [];
    const trainer = await (flags.resume
      ? resume(path, flags.resume)
      : begin(path, flags, (message) => remarks.push(message)));

    const progress = new ProgressLine(terminal.progress);
    const log = new RunLog(folder, folder === flags.resume);
    const signal = terminal.interrupted();
    const options = {
      checkpoint: folder,
      ...given({ signal, maxSteps: flags.maxSteps, validation: flags.validation }),
    };
    let end: TrainingEvent | undefined;
    try {
      for await (const event of trainer.fit(train, { epochs: flags.epochs, ...options })) {
        for (const remark of remarks.splice(0)) terminal.note(remark);
        progress.show(event);
        log.add(event);
        if (event.event === "end") end = event;
        // Steps block the event loop: Ctrl-C is heard between them.
        await setImmediate();
      }
    } finally {
      progress.clear();
      log.flush();
    }
    if (signal?.aborted) {
      throw new SorthError(`stopped after step ${trainer.steps}; go on with --resume ${folder}`);
    }
    await writeModel(trainer.export(given({ keepPenalty: flags.keepPenalty })), flags.output, terminal.write);
    const figures = test && (await trainer.evaluate(test));
    await trainer.release();
    if (flags.json) {
      terminal.json({ output: flags.output, checkpoint: folder, ...end, ...(figures && { test: figures }) });
      return;
    }
    await terminal.wrote(path, flags.output);
    terminal.note(`checkpoints and run.jsonl: ${folder}`);
    if (figures) terminal.print(figuresText(figures));
  });
}

/** @throws UsageError for flags that this version, or a resumed run, does not take. */
function checkFlags(command: Command, flags: RunFlags, trainingFlags: readonly string[]): void {
  if (flags.backend !== "cpu") {
    throw new UsageError(
      `the backend "${flags.backend}" is not in this version; leave --backend out, or give cpu`,
    );
  }
  if (!flags.resume) return;
  const given = command.options.filter(
    (option) =>
      trainingFlags.includes(option.attributeName()) &&
      command.getOptionValueSource(option.attributeName()) === "cli",
  );
  if (given.length > 0) {
    const names = given.map(({ long }) => long).join(", ");
    throw new UsageError(`a resumed run goes on with the options it was begun with; leave out ${names}`);
  }
}

async function begin(
  path: string,
  flags: TrainingFlags,
  onMessage: (message: string) => void,
): Promise<Trainer> {
  const model = await readModel(path);
  const graph = graphOf(model);
  const facts = {
    injected: blockOf(graph) !== undefined,
    freeBatch: hasFreeBatch(graph, dimensionsOf(flags)),
  };
  return Trainer.create(model, { ...trainerOptions(flags, facts), onMessage });
}

/** @throws UsageError when the run trains another model. */
async function resume(path: string, folder: string): Promise<Trainer> {
  const [model, kept] = [await readModel(path), await readModel(join(folder, "model.onnx"))];
  if (Buffer.compare(model.bytes, kept.bytes) !== 0) {
    throw new UsageError(
      `the run in "${folder}" trains another model than "${path}"; give the one it was begun with`,
    );
  }
  return Trainer.resume(folder);
}

function figuresText({
  loss,
  accuracy,
  samples,
}: {
  loss: number;
  accuracy?: number;
  samples: number;
}): string {
  const share = accuracy === undefined ? "" : `accuracy ${(100 * accuracy).toFixed(2)} %, `;
  return `test: ${share}loss ${loss.toPrecision(4)} on ${samples} samples`;
}
