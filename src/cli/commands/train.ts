import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import type { Command } from "commander";
import type { Dataset } from "../../data/dataset.ts";
import { objectiveFor } from "../../data/labels.ts";
import { messageOf, SorthError, UsageError } from "../../errors.ts";
import {
  checkpointOf,
  type Model,
  observe,
  readModel,
  rescuedInference,
  rescueFiles,
  Trainer,
  type TrainingEvent,
  writeCheckpoint,
  writeModel,
} from "../../index.ts";
import { checkIsNoData } from "../../onnx/files-node.ts";
import { type ModelFacts, modelFacts } from "../../programs/model-facts.ts";
import { listed } from "../../programs/tell-parameters.ts";
import { ProgressLine } from "../../report/progress.ts";
import { addDataFlags } from "../data-flags.ts";
import { dimensionsOf } from "../dimension-flags.ts";
import { given } from "../options.ts";
import { checkNoRun, checkOutput, chosenOutput, outputBeside, runFolderOf } from "../output.ts";
import { readData } from "../read-data.ts";
import { beginRescued } from "../rescue-run.ts";
import { RunLog } from "../run-log.ts";
import { penaltyNote, runFacts, writeRunReport } from "../run-report.ts";
import { type RunSettings, readRunSettings, resumedCall, writeRunSettings } from "../run-settings.ts";
import { type CommandStreams, Terminal } from "../terminal.ts";
import {
  addRunFlags,
  addTrainingFlags,
  placementOf,
  type RunFlags,
  type TrainingFlags,
  trainerOptions,
} from "../train-flags.ts";

type Flags = RunFlags & TrainingFlags;

/** Declares the argument and the flags, and returns the names of those that say how to train. */
function declare(command: Command): string[] {
  command.argument("[model]", "an ONNX model; a resumed run has its own");
  addRunFlags(command);
  addDataFlags(command);
  return [...addTrainingFlags(command), "normalize"];
}

/** `train`: trains a model. */
export function define(command: Command, streams: CommandStreams, typed: readonly string[]): void {
  const trainingFlags = declare(command);

  command.action(async (givenPath: string | undefined, givenFlags: Flags) => {
    const terminal = new Terminal(streams, givenFlags);
    const begun = await callOf(command, givenPath, givenFlags, trainingFlags);
    const { path, flags, data } = begun;
    const output = await chosenOutput(flags, outputBeside(path, "trained"), terminal.write);
    const model = await readModel(path);
    await checkIsNoData(output, model);
    const facts = modelFacts(model, dimensionsOf(flags));
    const artifact = facts.artifact !== undefined;
    // For an artifact, --checkpoint names the state that the run begins with.
    const ownFolder = artifact ? undefined : givenFlags.checkpoint;
    const folder = ownFolder ?? flags.resume ?? runFolderOf(output);
    if (flags.ortCheckpoint !== undefined) {
      if (!artifact)
        throw new UsageError("--ort-checkpoint belongs to runs that go on from training_model.onnx");
      await checkOutput(flags.ortCheckpoint, terminal.write, "--ort-checkpoint");
    }
    if (folder !== flags.resume) await checkNoRun(folder, terminal.write);
    checkEffects(flags, facts);
    const { train, validation, test } = await readData(data, terminal);
    await checkBest(flags, folder, validation !== undefined);
    // Remarks wait for the first step: where model and data do not fit, the error stands alone.
    const remarks: string[] = [];
    const rescued = artifact ? await rescueFiles(path, given({ checkpoint: flags.checkpoint })) : undefined;
    const onMessage = (message: string) => remarks.push(message);
    const trainer = await (flags.resume
      ? resume(rescued?.model ?? model, path, flags.resume, { ...begun.placement, onMessage })
      : rescued
        ? beginRescued(rescued, flags, command, onMessage)
        : begin(model, facts, flags, train, onMessage));

    const trainsWith = penaltyNote(trainer, artifact ? [] : (facts.block?.penalties ?? []));
    const learned = trainer.step.ports.parameters;
    remarks.unshift(
      ...(trainsWith ? [trainsWith] : []),
      `trained: ${learned.length} parameters: ${listed(learned)}`,
    );
    const settings = flags.resume
      ? begun.settings
      : ({ version: 1, folder: process.cwd(), arguments: typed, artifact } as const);
    const progress = new ProgressLine(terminal.progress);
    const log = new RunLog(folder, folder === flags.resume);
    const signal = terminal.interrupted();
    // The part that the data bring along, unless a share of the samples is held out.
    const own = flags.validation === undefined ? given({ validation }) : {};
    const options = { checkpoint: folder, ...given({ signal }), ...own, ...begun.fit };
    if (flags.resume && trainer.stepsLeft(train, options) === 0) throw nothingLeft(trainer, flags.resume);
    const events = trainer.fit(train, options);
    const report = () => writeRunReport(folder, runFacts(trainer, begun.model, data));
    let end: TrainingEvent | undefined;
    try {
      for await (const event of flags.report
        ? observe(trainer, train, events, { ...given({ gamma: flags.gamma }), onMessage })
        : events) {
        for (const remark of remarks.splice(0)) terminal.note(remark);
        if (event.event !== "angles" && event.event !== "gradients") progress.show(event);
        if (log.add(event) === "begun") {
          // With --force the folder may hold another run, whose best weights are not this one's.
          for (const kind of ["best", "last"]) await rm(join(folder, `${kind}.safetensors`), { force: true });
          if (settings) await writeRunSettings(folder, settings);
        }
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
      const again = folder === flags.resume ? typed : ["--resume", folder];
      throw new SorthError(
        `stopped after step ${trainer.steps}; to go on: sorth-onnx train ${again.map(quoted).join(" ")}`,
      );
    }
    if (flags.from === "best") await trainer.load(folder, "best");
    const exported = trainer.export(given({ keepPenalty: flags.keepPenalty }));
    const trained = rescued ? rescuedInference(exported, flags.prediction) : exported;
    await writeModel(trained, output, terminal.write);
    if (rescued && flags.ortCheckpoint !== undefined) {
      const after = checkpointOf(trainer.state(), rescued.checkpoint, flags.lr);
      await writeCheckpoint(flags.ortCheckpoint, after, terminal.write);
    }
    const figures = test && (await trainer.evaluate(test));
    await trainer.release();
    if (flags.report) await report();
    if (flags.json) {
      terminal.json({
        ...{ output, checkpoint: folder, ...end, from: flags.from, exportedStep: trainer.steps },
        ...(figures && { test: figures }),
      });
      return;
    }
    await terminal.wrote(path, output);
    if (flags.from === "best") {
      terminal.note(`weights of step ${trainer.steps}, where the validation loss was lowest`);
    }
    terminal.note(`checkpoints, run.jsonl${flags.report ? " and report.html" : ""}: ${folder}`);
    if (flags.ortCheckpoint)
      terminal.note(`checkpoint for ONNX Runtime's own sessions: ${flags.ortCheckpoint}`);
    if (figures) terminal.print(figuresText(figures));
  });
}

/** What a call of `train` comes to, with what a resumed run was begun with. */
interface Call {
  /** The file to read the model from. */
  readonly path: string;
  /** The model's own file, where the run began. */
  readonly model: string;
  readonly flags: Flags;
  /** Of a resumed run. */
  readonly settings?: RunSettings;
  readonly data: string;
  /** Where to train; of a resumed run only what is given now. */
  readonly placement: Partial<ReturnType<typeof placementOf>>;
  /** How to fit; of a resumed run only what is given now. */
  readonly fit: {
    readonly epochs?: number;
    readonly maxSteps?: number;
    readonly validation?: number;
    readonly otherData?: boolean;
  };
}

/** @throws UsageError for flags that are missing, or that a resumed run does not take */
async function callOf(
  command: Command,
  path: string | undefined,
  flags: Flags,
  trainingFlags: readonly string[],
): Promise<Call> {
  const isGiven = (name: string) => command.getOptionValueSource(name) === "cli";
  const { epochs, maxSteps, validation, otherData } = flags;
  if (flags.resume === undefined) {
    if (otherData) throw new UsageError("--other-data belongs to --resume");
    if (path === undefined)
      throw new UsageError("missing required argument 'model' (see sorth-onnx train --help)");
    if (flags.data === undefined) {
      throw new UsageError(
        "required option '--data <source>' not specified: mnist, or an .npz file with arrays x and y",
      );
    }
    const fit = { epochs, ...given({ maxSteps, validation }) };
    return { path, model: path, flags, data: flags.data, placement: placementOf(flags), fit };
  }
  const refused = command.options.filter(
    (option) => trainingFlags.includes(option.attributeName()) && isGiven(option.attributeName()),
  );
  if (refused.length > 0) {
    const names = refused.map(({ long }) => long).join(", ");
    throw new UsageError(`a resumed run goes on with the options it was begun with; leave out ${names}`);
  }
  const settings = await readRunSettings(flags.resume);
  const before = settings && resumedCall<Flags>(settings, command, declare);
  const merged = before?.flags ?? flags;
  const model = path ?? (settings?.artifact ? before?.model : join(flags.resume, "model.onnx"));
  if (!settings && (path === undefined || !isGiven("data") || !isGiven("epochs"))) {
    throw new UsageError(
      `"${flags.resume}" has no run.json that says how the run was begun (it is of an older version, or of the library): give the model, --data and --epochs again`,
    );
  }
  // Without -o the trained model goes where the run that was stopped would have written it.
  const output = merged.output ?? outputBeside(before?.model ?? model ?? "", "trained");
  return {
    path: model ?? "",
    model: path ?? before?.model ?? "",
    ...(settings && { settings }),
    flags: { ...merged, output },
    data: merged.data ?? "",
    placement: Object.fromEntries(Object.entries(placementOf(flags)).filter(([name]) => isGiven(name))),
    fit: given({ epochs: isGiven("epochs") ? epochs : undefined, maxSteps, validation, otherData }),
  };
}

/** @throws UsageError for flags that would have no effect */
function checkEffects({ keepPenalty, allowFallback, backend }: Flags, { block }: ModelFacts): void {
  if (keepPenalty && !block) {
    throw new UsageError("--keep-penalty belongs to a model with an injected penalty: this one has none");
  }
  if (allowFallback && backend === "cpu") {
    throw new UsageError(
      "--allow-fallback belongs to --backend cuda and webgpu: on the CPU everything runs there",
    );
  }
}

/** @throws UsageError when --from best asks for a checkpoint that the run will not have */
async function checkBest({ from, validation, resume }: Flags, folder: string, held: boolean): Promise<void> {
  if (from !== "best" || validation !== undefined || held) return;
  const there = resume !== undefined && (await stat(join(folder, "best.safetensors")).catch(() => undefined));
  if (there) return;
  throw new UsageError(
    "--from best needs samples held out to tell the best by: give --validation, as in --validation 0.1",
  );
}

/** A word of a command line as a shell reads it. */
const quoted = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

function nothingLeft(trainer: Trainer, folder: string): UsageError {
  return new UsageError(
    `the run in "${folder}" has done all its ${trainer.steps} steps: give --epochs or --max-steps to train further, or take its model with sorth-onnx export --checkpoint ${folder}`,
  );
}

async function begin(
  model: Model,
  { block, freeBatch }: ModelFacts,
  flags: Flags,
  data: Dataset,
  onMessage: (message: string) => void,
): Promise<Trainer> {
  const options = trainerOptions(flags, { injected: block !== undefined, freeBatch });
  const asked = flags.labels ?? flags.classAxis;
  const { objective, remark } =
    options.objective && asked === undefined
      ? objectiveFor(options.objective, data)
      : { objective: options.objective, remark: undefined };
  if (remark !== undefined) onMessage(remark);
  return Trainer.create(model, {
    ...options,
    ...given({ objective, normalize: flags.normalize }),
    ...placementOf(flags),
    onMessage,
  });
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
