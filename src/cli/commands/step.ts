import { join, parse } from "node:path";
import type { Command } from "commander";
import { UsageError } from "../../errors.ts";
import {
  buildSplitStep,
  buildStep,
  initialState,
  type Model,
  readModel,
  type Step,
  stepLoop,
  writeModel,
} from "../../index.ts";
import { checkIsNoData } from "../../onnx/files-node.ts";
import { modelFacts } from "../../programs/model-facts.ts";
import { dimensionsOf } from "../dimension-flags.ts";
import { withLossFiles } from "../loss-files.ts";
import { optimizerOf } from "../optimizer-flags.ts";
import { addOutputFlag, checkOutput, type OutputFlags, outputBeside } from "../output.ts";
import { checkBesideOwnPenalty } from "../penalty-flags.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";
import { addStepFlags, type TrainingFlags, trainerOptions } from "../train-flags.ts";

interface Flags extends SharedFlags, OutputFlags, TrainingFlags {
  readonly split?: true;
  readonly loop?: true;
}

/** `step`: writes a training step for the user's own training loop. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "an ONNX model");
  addOutputFlag(
    command,
    "step",
    "where to write the step; also writes <file>.initial.onnx, which computes the initial state",
  );
  command
    .option("--split", "write two graphs, <file>.gradients.onnx and <file>.update.onnx, instead of one")
    .option(
      "--loop",
      "do several steps per run, as many as the input `steps` says; for training loops that copy the state in every run",
    );
  addStepFlags(command);
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    if (flags.split && flags.loop) throw new UsageError("give either --split or --loop, not both");
    const output = flags.output ?? outputBeside(path, "step");
    const { dir, name } = parse(output);
    const beside = (kind: string) => join(dir, `${name}.${kind}.onnx`);
    const initialFile = beside("initial");
    const splitFiles = [beside("gradients"), beside("update")] as const;
    for (const file of [...(flags.split ? splitFiles : [output]), initialFile]) {
      await checkOutput(file, terminal.write);
    }
    const model = await readModel(path);
    await checkIsNoData(output, model);
    const { block, freeBatch } = modelFacts(model, dimensionsOf(flags));
    if (block !== undefined) checkBesideOwnPenalty(flags);
    const {
      optimizer,
      learningRate: _,
      ...options
    } = trainerOptions(await withLossFiles(flags), {
      injected: block !== undefined,
      freeBatch,
      hasLoss: block?.mark.objective !== undefined,
    });
    const own = {
      ...options,
      optimizer: optimizerOf(flags),
      onMessage: (message: string) => terminal.note(message),
    };
    const files: [string, Model][] = [];
    if (flags.split) {
      const step = await buildSplitStep(model, own);
      tellWeight(step, terminal);
      files.push([splitFiles[0], step.gradients], [splitFiles[1], step.update]);
      files.push([initialFile, initialState({ ...step, model: step.update })]);
    } else {
      const step = await buildStep(model, own);
      tellWeight(step, terminal);
      const written = flags.loop ? stepLoop(step) : step;
      files.push([output, written.model], [initialFile, initialState(step)]);
    }
    for (const [file, written] of files) {
      await writeModel(written, file, terminal.write);
      await terminal.wrote(path, file);
    }
  });
}

/** The weight of the penalties is an input, of which the graph holds no number. */
function tellWeight(
  {
    ports,
    penaltyWeight,
    penaltySchedules,
  }: Pick<Step, "penaltyWeight" | "penaltySchedules"> & {
    readonly ports: Pick<Step["ports"], "scalars">;
  },
  terminal: Terminal,
): void {
  const { penaltyWeight: input } = ports.scalars;
  if (input === undefined) return;
  const scheduled = [...penaltySchedules.keys()].map(
    (name) => `; the schedule of ${name} is your loop's too`,
  );
  terminal.note(`your loop feeds ${input}, the penalty's weight: ${penaltyWeight}${scheduled.join("")}`);
}
