import { existsSync } from "node:fs";
import { join } from "node:path";
import { checkAdapterOutput } from "../adapters/adapter-files-node.ts";
import { trainedSamples } from "../data/batches.ts";
import { type DataConversion, withConversion } from "../data/conversion.ts";
import { UsageError } from "../errors.ts";
import {
  type CheckpointKind,
  checkpointOf,
  type EvaluationResult,
  observe,
  type RescuedModel,
  readModel,
  rescuedInference,
  rescueFiles,
  type Trainer,
  type TrainingEvent,
  tensorboard,
  writeCheckpoint,
} from "../index.ts";
import { responseMemory } from "../measure/response-memory.ts";
import { checkIsNoData, writeWithData } from "../onnx/files-node.ts";
import { counted } from "../passes/pass.ts";
import { type ModelFacts, modelFacts } from "../programs/model-facts.ts";
import { listedWithSource } from "../programs/tell-parameters.ts";
import { dataRecord } from "../runtime/data-record.ts";
import { checkHasAdapters, writeTrainedAdapter } from "./adapter-flags.ts";
import { updateAveragedBatchNorm, updatesBatchNorm } from "./averaged-batch-norm.ts";
import { withRecoveredBatchNorm } from "./batch-norm-flag.ts";
import { trainerFor } from "./begin-run.ts";
import { withClasses } from "./class-list.ts";
import { dimensionsOf } from "./dimension-flags.ts";
import { checkHeldOut, checkReaches, earlyText, weightsFrom, weightsText } from "./fit-flags.ts";
import { tellMemory } from "./memory-note.ts";
import { given } from "./options.ts";
import {
  checkNoEvents,
  checkNoRun,
  checkOutput,
  chosenOutput,
  outputBeside,
  removeEvents,
  runFolderOf,
} from "./output.ts";
import { readData } from "./read-data.ts";
import { validationAt } from "./run-log.ts";
import { averageText, hyperParametersOf, penaltyNote, runFacts, writeRunReport } from "./run-report.ts";
import type { RunSettings } from "./run-settings.ts";
import { checkTaughtData, conversionRemark, lossRemark } from "./taught-data.ts";
import { type CommandStreams, Terminal } from "./terminal.ts";
import { callOf, checkEffects, parsedCall, type TrainFlags } from "./train-call.ts";
import { defaultBatch } from "./train-flags.ts";
import { watchRun } from "./watch-run.ts";

/** What one run gets from the command that it belongs to. */
export interface RunContext {
  readonly streams: CommandStreams;
  readonly signal: AbortSignal | undefined;
  /** Several runs that belong together: the words that resume all of them; a run that is at its end already writes its model. */
  readonly again?: readonly string[];
  /** Called when the run has done its first step. */
  readonly began?: () => Promise<void>;
}

/** The results of a run. */
export interface TrainedRun {
  /** The model that was trained. */
  readonly path: string;
  readonly output: string;
  readonly checkpoint: string;
  readonly end: TrainingEvent | undefined;
  readonly from: CheckpointKind;
  readonly exportedStep: number;
  /** Figures on the held-out samples of the weights that the model has, if an epoch ended with them. */
  readonly validation: EvaluationResult | undefined;
  /** Figures on the test part of the data, if there is one. */
  readonly test: EvaluationResult | undefined;
}

/** Trains one model as the words after `sorth-onnx train` say. */
export async function trainOne(typed: readonly string[], run: RunContext): Promise<TrainedRun> {
  const { streams, signal } = run;
  const { command, trainingFlags } = parsedCall(typed);
  const givenFlags = command.opts<TrainFlags>();
  const terminal = new Terminal(streams, givenFlags);
  const call = await callOf(command, command.args[0], givenFlags, trainingFlags);
  const { path, flags, data } = call;
  const output = await chosenOutput(flags, outputBeside(path, "trained"), terminal.write);
  // Remarks appear after the first step: if model and data do not fit, the user sees only the error.
  const remarks: string[] = [];
  const onMessage = (message: string) => remarks.push(message);
  const file = await readModel(path);
  // The model in a run's folder has its new classes already.
  const isOwnCopy = flags.resume !== undefined && path === join(flags.resume, "model.onnx");
  const begun = isOwnCopy ? file : await withClasses(file, flags, onMessage);
  await checkIsNoData(output, begun);
  const facts = modelFacts(begun, dimensionsOf(flags));
  const artifact = facts.artifact !== undefined;
  // For an artifact, --checkpoint names the state that the run begins with.
  const ownFolder = artifact ? undefined : givenFlags.checkpoint;
  const folder = ownFolder ?? flags.resume ?? runFolderOf(output);
  const isResumed = folder === flags.resume;
  if (flags.ortCheckpoint !== undefined) {
    if (!artifact)
      throw new UsageError("--ort-checkpoint belongs to runs that go on from training_model.onnx");
    await checkOutput(flags.ortCheckpoint, terminal.write, "--ort-checkpoint");
  }
  if (!isResumed) await checkNoRun(folder, terminal.write);
  const boardFolder = flags.tensorboard;
  const isNewBoard = boardFolder !== undefined && !flags.resume;
  if (isNewBoard) await checkNoEvents(boardFolder, terminal.write);
  checkEffects(flags, facts);
  checkHasAdapters(begun, flags);
  if (flags.adapter !== undefined) await checkAdapterOutput(flags.adapter, terminal.write);
  const rescued = artifact ? await rescueFiles(path, given({ checkpoint: flags.checkpoint })) : undefined;
  // A prediction that cannot be told is refused before hours of training.
  if (rescued) rescuedInference(rescued.model, flags.prediction);
  const fed = rescued?.model ?? begun;
  const read = await readData(data, terminal, flags, { model: fed, conversion: call.settings?.data });
  const { train, validation, test: held, normalize } = read;
  await checkHeldOut(flags, {
    folder,
    held: validation !== undefined,
    tested: held !== undefined,
    isResumed: flags.resume !== undefined,
  });
  const isNew = flags.resume === undefined;
  const model = isNew
    ? await withRecoveredBatchNorm(begun, train, flags, { normalize, onMessage, signal })
    : begun;
  const trainer = await trainerFor({
    ...{ call, command, model, facts, rescued, train, normalize, onMessage },
    text: read.conversion?.text,
    onMemory: tellMemory(
      onMessage,
      (text) => terminal.note(text),
      flags.report ? responseMemory(model) : undefined,
    ),
  });
  // A penalty that the written model cannot keep is refused before hours of training, too.
  if (flags.keepPenalty) trainer.export({ keepPenalty: true });
  const updates = updatesBatchNorm(trainer, flags);
  const record = dataRecord(read, trainer);
  checkTaughtData(trainer.options.teacher, record);
  const isUnsaid = isNew && !artifact && flags.objective === undefined && flags.loss === undefined;
  const otherwise = [
    isNew ? conversionRemark(begun, record) : undefined,
    isUnsaid ? lossRemark(begun, record) : undefined,
  ].filter((text) => text !== undefined);

  const trainsWith = penaltyNote(trainer, artifact ? [] : (facts.block?.penalties ?? []));
  const learned = trainer.step.ports.parameters;
  const average = averageText(trainer);
  remarks.unshift(
    ...(trainsWith ? [trainsWith] : []),
    ...(record.summary === undefined ? [] : [`data: ${record.summary}`]),
    `trained: ${counted(learned.length, "parameter")}: ${listedWithSource(learned)}`,
    ...(average === undefined ? [] : [`validated and written: ${average}`]),
    ...otherwise,
  );
  // The data's own validation part, unless a share of the samples is held out.
  const own = flags.validation === undefined ? given({ validation }) : {};
  const options = { checkpoint: folder, ...given({ signal }), ...own, ...call.fit };
  // A run that was killed between its last step and its model only has to write the model.
  if (flags.resume && !run.again && existsSync(output) && trainer.stepsLeft(train, options) === 0) {
    throw nothingLeft(trainer, flags.resume);
  }
  checkReaches(flags, trainer, (fit) => trainer.steps + trainer.stepsLeft(train, { ...options, ...fit }));
  const fitted = trainer.fit(train, options);
  const events = flags.report
    ? observe(trainer, train, fitted, { ...given({ gamma: flags.gamma }), onMessage })
    : fitted;
  const report = flags.report ? () => writeRunReport(folder, runFacts(trainer, call.model, data)) : undefined;
  const settings: RunSettings | undefined = flags.resume
    ? call.settings
    : {
        ...{ folder: process.cwd(), arguments: typed, artifact, data: record },
        ...{ version: 1, defaults: defaultsOf(trainer, facts, flags) },
      };
  const again = run.again ?? (isResumed ? typed : ["--resume", folder]);
  const steps = () => trainer.steps;
  const board =
    boardFolder === undefined
      ? undefined
      : tensorboard(boardFolder, { hyperParameters: hyperParametersOf(trainer) });
  const began = async () => {
    if (isNewBoard) await removeEvents(boardFolder);
    await run.began?.();
  };
  const end = await watchRun(
    { events, folder, isResumed, settings, remarks, signal, report, steps, again, board, began },
    terminal,
  );
  const from = await weightsFrom(flags, folder);
  if (from !== "last") await trainer.load(folder, from);
  if (updates && !signal?.aborted) {
    const seen = trainedSamples(train, { validation: flags.validation, seed: trainer.options.seed });
    terminal.note(await updateAveragedBatchNorm(trainer, seen, signal));
  }
  const ownData = await writeTrained(trainer, rescued, flags, { output, record }, terminal);
  if (flags.adapter !== undefined) await writeTrainedAdapter(trainer, flags.adapter, terminal);
  const test = held && (await trainer.evaluate(held));
  if (test) board?.evaluated("test", test, trainer.steps);
  await trainer.release();
  const reached = validationAt(folder, trainer.steps);
  await report?.();
  if (!flags.json) await terminal.wrote(path, output, ownData);
  if (end?.event === "end" && end.stopped === "early") terminal.note(earlyText(flags, end, folder));
  if (from !== "last") terminal.note(weightsText(flags, from, trainer.steps));
  terminal.note(`checkpoints, run.jsonl${flags.report ? " and report.html" : ""}: ${folder}`);
  if (flags.ortCheckpoint)
    terminal.note(`checkpoint for ONNX Runtime's own sessions: ${flags.ortCheckpoint}`);
  return {
    path,
    output,
    checkpoint: folder,
    end,
    from,
    exportedStep: trainer.steps,
    validation: reached,
    test,
  };
}

/** The values of flags that were left out, for the configuration that repeats the run. */
function defaultsOf(
  { options }: Trainer,
  { freeBatch, block, artifact }: ModelFacts,
  flags: TrainFlags,
): Readonly<Record<string, string | number>> {
  if (artifact !== undefined) return {};
  // If groups have learning rates of their own, the default rate may have no effect: a configuration with it would be refused.
  const counts = options.groups?.every(({ learningRate }) => learningRate === undefined) ?? true;
  return {
    ...((counts || options.learningRate !== undefined) && { lr: options.learningRate ?? 1e-3 }),
    seed: options.seed ?? 0,
    ...(freeBatch && { batch: options.batch ?? defaultBatch }),
    ...(block === undefined &&
      flags.penalty === undefined && { penalty: options.penalties?.length === 0 ? "none" : "som" }),
  };
}

/**
 * Writes the trained model and, if asked for, the checkpoint for ONNX Runtime's own sessions.
 * @returns the model's own data file, if it has one
 */
async function writeTrained(
  trainer: Trainer,
  rescued: RescuedModel | undefined,
  { keepPenalty, prediction, ortCheckpoint, lr }: TrainFlags,
  { output, record }: { readonly output: string; readonly record: DataConversion },
  terminal: Terminal,
): Promise<string | undefined> {
  const exported = trainer.export(given({ keepPenalty }));
  const trained = rescued ? rescuedInference(exported, prediction) : exported;
  const data = await writeWithData(withConversion(trained, record), output, terminal.write);
  if (rescued && ortCheckpoint !== undefined) {
    const after = checkpointOf(trainer.state(), rescued.checkpoint, lr);
    await writeCheckpoint(ortCheckpoint, after, terminal.write);
  }
  return data;
}

function nothingLeft(trainer: Trainer, folder: string): UsageError {
  return new UsageError(
    `the run in "${folder}" has done all its ${trainer.steps} steps: give --epochs or --max-steps to train further, or take its model with sorth-onnx export --checkpoint ${folder}`,
  );
}
