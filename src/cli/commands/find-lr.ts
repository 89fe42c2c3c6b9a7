import type { Command } from "commander";
import { dataKinds } from "../../data/load-node.ts";
import { SorthError, UsageError } from "../../errors.ts";
import { type FoundLearningRate, findLearningRate, readModel } from "../../index.ts";
import { positive } from "../../numbers.ts";
import { writeFileSafely } from "../../onnx/write-file.ts";
import { modelFacts } from "../../programs/model-facts.ts";
import { rateText } from "../../report/rate-text.ts";
import { checkFallback } from "../../runtime/check-run-options.ts";
import { withRecoveredBatchNorm } from "../batch-norm-flag.ts";
import { newTrainer } from "../begin-run.ts";
import { withClasses } from "../class-list.ts";
import { addTrainingDataFlags, type TrainingDataFlags } from "../data-flags.ts";
import { dimensionsOf } from "../dimension-flags.ts";
import { withLossFiles } from "../loss-files.ts";
import { given, numberIn, positiveInteger } from "../options.ts";
import { checkOutput } from "../output.ts";
import { addPlacementFlags, type PlacementFlags } from "../placement-flags.ts";
import { readData } from "../read-data.ts";
import { runFacts } from "../run-report.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";
import { addSeedFlags, addStepFlags, addTuningFlags, type TrainingFlags } from "../train-flags.ts";

interface Flags extends SharedFlags, TrainingFlags, TrainingDataFlags, PlacementFlags {
  readonly data: string;
  readonly min?: number;
  readonly max?: number;
  readonly steps?: number;
  readonly html?: string;
  readonly json?: true;
}

/** `find-lr`: looks for a learning rate. */
export function define(command: Command, streams: CommandStreams): void {
  command
    .argument("<model>", "an ONNX model; it is not changed")
    .requiredOption("--data <source>", `${dataKinds}; docs/data.md describes each`)
    .option("--min <number>", "learning rate of the first step (default: 1e-7)", numberIn(positive))
    .option("--max <number>", "learning rate of the last step (default: 10)", numberIn(positive))
    .option("--steps <count>", "steps from the first to the last rate (default: 100)", positiveInteger)
    .option("--html <file>", "also write a page with the curve")
    .option("--json", "print the suggestions and the curve as JSON");
  addPlacementFlags(command);
  addTrainingDataFlags(command);
  addTuningFlags(command);
  addStepFlags(command, { recovers: true });
  addSeedFlags(command);
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    if (flags.ema !== undefined || flags.swa !== undefined) {
      throw new UsageError(
        "an average of the weights changes no loss of a training step: leave --ema and --swa out of find-lr",
      );
    }
    if (flags.runningVariance !== undefined) {
      throw new UsageError(
        "the running variance changes no loss of a training step: leave --running-variance out of find-lr",
      );
    }
    checkFallback(flags.allowFallback, flags.backend);
    if (flags.html !== undefined) await checkOutput(flags.html, terminal.write, "--html");
    const onMessage = (message: string) => terminal.note(message);
    const model = await withClasses(await readModel(path), flags, onMessage);
    const facts = modelFacts(model, dimensionsOf(flags));
    if (facts.artifact !== undefined) {
      throw new UsageError(
        `"${path}" is a file of ONNX Runtime's training API: give find-lr the model itself`,
      );
    }
    const read = await readData(flags.data, terminal, flags, { model, conversion: undefined });
    const { train, normalize, conversion } = read;
    const text = conversion?.text;
    const signal = terminal.interrupted();
    const trainer = await newTrainer({
      model: await withRecoveredBatchNorm(model, train, flags, { normalize, onMessage, signal }),
      facts,
      flags: await withLossFiles(flags),
      train,
      text,
      normalize,
      onMessage,
    });
    const { min, max, steps } = flags;
    const found = await findLearningRate(trainer, train, {
      ...given({ min, max, steps, signal }),
      onStep: ({ learningRate, smoothed }, done, all) =>
        terminal.status(
          `step ${done}/${all}  rate ${rateText(learningRate)}  loss ${smoothed.toPrecision(4)}`,
        ),
    }).finally(() => terminal.status());
    if (found.points.length === 0) {
      await trainer.release();
      throw new SorthError("stopped before the first step, without a result");
    }
    if (flags.html !== undefined) {
      const about = runFacts(trainer, path, flags.data).map((fact) =>
        fact.replace(/, learning rate [^,]*/, ""),
      );
      await writePage(flags.html, found, about, terminal);
    }
    await trainer.release();
    if (flags.json) terminal.json(found);
    else for (const line of linesOf(found)) terminal.print(line);
  });
}

async function writePage(
  path: string,
  found: FoundLearningRate,
  facts: readonly string[],
  terminal: Terminal,
): Promise<void> {
  const [{ learningRatePage }, { blankDocument }] = await Promise.all([
    import("../../report/pages/learning-rate-page.ts"),
    import("../../report/pages/blank-document.ts"),
  ]);
  await writeFileSafely(path, await learningRatePage(blankDocument(), found, { facts }), terminal.write);
  terminal.note(`page: ${path}`);
}

function linesOf({ suggestion, steepest, valley, points, stopped }: FoundLearningRate): string[] {
  const ends = [points[0], points.at(-1)].map((point) => rateText(point?.learningRate));
  const why = { diverged: ", where the loss diverged", aborted: ", where it was interrupted" } as const;
  return [
    suggestion === undefined
      ? `no suggestion: ${stopped === "aborted" ? "the loss falls nowhere before it was interrupted" : "the loss falls nowhere; try other rates (--min, --max) or more --steps"}`
      : `suggestion: --lr ${rateText(suggestion)}`,
    `the loss falls fastest at ${rateText(steepest)}; the middle of its longest fall is ${rateText(valley)}`,
    `${points.length} steps with rates from ${ends.join(" to ")}${stopped ? why[stopped] : ""}`,
  ];
}
