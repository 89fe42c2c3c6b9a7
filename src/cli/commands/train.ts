import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { Command } from "commander";
import { hasFreeBatch } from "../../analysis/dimensions.ts";
import { artifactKind } from "../../artifacts/training-model.ts";
import { messageOf, SorthError, UsageError } from "../../errors.ts";
import type { Graph } from "../../graph/graph.ts";
import { graphOf } from "../../graph/model-graph.ts";
import {
  checkpointOf,
  type Model,
  observe,
  readModel,
  rescuedInference,
  Trainer,
  type TrainingEvent,
  writeCheckpoint,
  writeModel,
} from "../../index.ts";
import { blockOf } from "../../inject/block.ts";
import { ProgressLine } from "../../report/progress.ts";
import { dimensionsOf } from "../dimension-flags.ts";
import { given } from "../options.ts";
import { checkNoRun, checkOutput, chosenOutput, outputBeside, runFolderOf } from "../output.ts";
import { readData } from "../read-data.ts";
import { beginRescued, rescueRun } from "../rescue-run.ts";
import { RunLog } from "../run-log.ts";
import { runFacts, writeRunReport } from "../run-report.ts";
import { type CommandStreams, Terminal } from "../terminal.ts";
import {
  addRunFlags,
  addTrainingFlags,
  placementOf,
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
    checkFlags(command, flags, trainingFlags);
    const output = await chosenOutput(flags, outputBeside(path, "trained"), terminal.write);
    const model = await readModel(path);
    const graph = graphOf(model);
    const artifact = artifactKind(graph) !== undefined;
    // Of an artifact, --checkpoint names the state to begin with.
    const ownFolder = artifact ? undefined : flags.checkpoint;
    const folder = ownFolder ?? flags.resume ?? runFolderOf(output);
    if (flags.ortCheckpoint !== undefined) {
      if (!artifact)
        throw new UsageError("--ort-checkpoint belongs to runs that go on from training_model.onnx");
      await checkOutput(flags.ortCheckpoint, terminal.write);
    }
    if (folder !== flags.resume) await checkNoRun(folder, terminal.write);
    const { train, test } = await readData(flags.data, terminal);
    // Said once the first step has shown that model and data fit: an error stands alone.
    const remarks: string[] = [];
    const rescue = artifact ? await rescueRun(model, path, flags) : undefined;
    const onMessage = (message: string) => remarks.push(message);
    const trainer = await (flags.resume
      ? resume(rescue?.rescued.model ?? model, path, flags.resume, { ...placementOf(flags), onMessage })
      : rescue
        ? beginRescued(rescue, flags, command, onMessage)
        : begin(model, graph, flags, onMessage));

    const progress = new ProgressLine(terminal.progress);
    const log = new RunLog(folder, folder === flags.resume);
    const signal = terminal.interrupted();
    const options = {
      checkpoint: folder,
      ...given({ signal, maxSteps: flags.maxSteps, validation: flags.validation }),
    };
    const events = trainer.fit(train, { epochs: flags.epochs, ...options });
    const report = () => writeRunReport(folder, runFacts(trainer, path, flags.data));
    let end: TrainingEvent | undefined;
    try {
      for await (const event of flags.report
        ? observe(trainer, train, events, { ...given({ gamma: flags.gamma }), onMessage })
        : events) {
        for (const remark of remarks.splice(0)) terminal.note(remark);
        if (event.event !== "angles" && event.event !== "gradients") progress.show(event);
        log.add(event);
        if (event.event === "end") end = event;
        // Steps block the event loop: Ctrl-C is heard between them.
        await setImmediate();
      }
    } catch (error) {
      log.flush();
      // The run's own error is the one that counts.
      if (flags.report && trainer.steps > 0)
        await report().catch((reason) => terminal.note(messageOf(reason)));
      throw error;
    } finally {
      progress.clear();
      log.flush();
    }
    if (signal?.aborted) {
      if (flags.report) await report().catch((reason) => terminal.note(messageOf(reason)));
      throw new SorthError(`stopped after step ${trainer.steps}; go on with --resume ${folder}`);
    }
    const exported = trainer.export(given({ keepPenalty: flags.keepPenalty }));
    const trained = rescue ? rescuedInference(exported, flags.prediction) : exported;
    await writeModel(trained, output, terminal.write);
    if (rescue && flags.ortCheckpoint !== undefined) {
      const after = checkpointOf(trainer.state(), rescue.checkpoint, flags.lr);
      await writeCheckpoint(flags.ortCheckpoint, after, terminal.write);
    }
    const figures = test && (await trainer.evaluate(test));
    await trainer.release();
    if (flags.report) await report();
    if (flags.json) {
      terminal.json({ output, checkpoint: folder, ...end, ...(figures && { test: figures }) });
      return;
    }
    await terminal.wrote(path, output);
    terminal.note(`checkpoints, run.jsonl${flags.report ? " and report.html" : ""}: ${folder}`);
    if (flags.ortCheckpoint)
      terminal.note(`checkpoint for ONNX Runtime's own sessions: ${flags.ortCheckpoint}`);
    if (figures) terminal.print(figuresText(figures));
  });
}

/** @throws UsageError for flags that this version, or a resumed run, does not take. */
function checkFlags(command: Command, flags: RunFlags, trainingFlags: readonly string[]): void {
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
  model: Model,
  graph: Graph,
  flags: RunFlags & TrainingFlags,
  onMessage: (message: string) => void,
): Promise<Trainer> {
  const facts = {
    injected: blockOf(graph) !== undefined,
    freeBatch: hasFreeBatch(graph, dimensionsOf(flags)),
  };
  return Trainer.create(model, { ...trainerOptions(flags, facts), ...placementOf(flags), onMessage });
}

/** @throws UsageError when the run trains another model. */
async function resume(
  model: Model,
  path: string,
  folder: string,
  options: Parameters<typeof Trainer.resume>[1],
): Promise<Trainer> {
  const kept = await readModel(join(folder, "model.onnx"));
  if (Buffer.compare(model.bytes, kept.bytes) !== 0) {
    throw new UsageError(
      `the run in "${folder}" trains another model than "${path}"; give the one it was begun with`,
    );
  }
  return Trainer.resume(folder, options);
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
