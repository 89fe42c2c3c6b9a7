import type { Command } from "commander";
import { conversionOf } from "../../data/conversion.ts";
import { UsageError } from "../../errors.ts";
import { crossEntropy, type Prediction, predict, readModel } from "../../index.ts";
import { writeFileSafely } from "../../onnx/write-file.ts";
import { counted } from "../../passes/pass.ts";
import { csvCell } from "../../report/csv-cell.ts";
import { nameOfSample } from "../../report/sample-name.ts";
import { visible } from "../../visible.ts";
import { oneObjective } from "../loss-flags.ts";
import {
  addModelRunFlags,
  dataSourceOf,
  type ModelRunFlags,
  modelRunOf,
  partOf,
} from "../model-run-flags.ts";
import { chosenOutput, outputBeside } from "../output.ts";
import { readData } from "../read-data.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, ModelRunFlags {
  readonly output?: string;
}

/** `predict`: a model's answer for every sample. */
export function define(command: Command, streams: CommandStreams): void {
  command
    .argument("<model>", "an ONNX model with its weights")
    .option("-o, --output <file>", "a .csv or .jsonl file (default: beside the model, .predictions.csv)");
  addModelRunFlags(
    command,
    "the loss that the model was trained with, which says what its numbers mean (default: the one that the model records, else cross-entropy where the model or the data have classes)",
  );
  const ofLoss = command.options.filter((option) =>
    ["ignoreIndex", "labels", "labelSmoothing", "classWeights"].includes(option.attributeName()),
  );
  for (const option of ofLoss) option.hideHelp();
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    // They may be given all the same, so that evaluate and predict take one list of flags.
    const asked = ofLoss.find((option) => option.attributeName() in flags);
    if (asked)
      terminal.note(`${asked.long} changes a loss, and predict computes none: it has no effect here`);
    const output = await chosenOutput(flags, outputBeside(path, "predictions", "csv"), terminal.write);
    if (!/\.(csv|jsonl)$/i.test(output)) {
      throw new UsageError(`${output}: predictions are written as .csv or .jsonl; give a name that ends so`);
    }
    const source = dataSourceOf(flags);
    const model = await readModel(path);
    const data = await readData(source, terminal, flags, { model, conversion: conversionOf(model) });
    const part = partOf(data, flags);
    // A model that records its classes has them for data that only number them, and for data without labels.
    const classes = data.conversion?.classes ?? conversionOf(model)?.classes;
    const nameOf = (answer: number) => (answer < 0 ? null : (classes?.[answer] ?? answer));
    const named = ({ sample, answer, answers: ofPlaces, scores }: Prediction): NamedPrediction => ({
      sample: nameOfSample(part, sample),
      ...(answer !== undefined && { answer: nameOf(answer) }),
      ...(ofPlaces && { answers: ofPlaces.map(nameOf) }),
      scores,
    });
    const lines: string[] = [];
    const asLine = /\.jsonl$/i.test(output) ? jsonLine : csvLine;
    let answers = 0;
    const unclear: number[] = [];
    const run = oneObjective("predict", modelRunOf(flags, data.normalize, terminal, part));
    const isUnsaid = classes !== undefined && !conversionOf(model)?.objective;
    const options = isUnsaid && !run.objective ? { ...run, objective: crossEntropy() } : run;
    for await (const prediction of predict(model, part, options)) {
      if (answers === 0 && asLine === csvLine) lines.push(csvHeading(prediction, classes));
      lines.push(asLine(named(prediction)));
      answers += 1;
      if (!prediction.scores.every(Number.isFinite)) unclear.push(prediction.sample);
    }
    await writeFileSafely(output, `${lines.join("\n")}\n`, terminal.write);
    if (unclear.length > 0) {
      terminal.note(
        `${unclear.length} of ${counted(answers, "sample")} have scores that are not defined (NaN or infinite), the first is sample ${unclear[0]}: their places in ${output} are empty`,
      );
    }
    terminal.note(`${counted(answers, "sample")} of ${part.name} → ${output}`);
  });
}

/** A prediction with the file of its sample and the name of its class, where these are known. */
interface NamedPrediction {
  readonly sample: number | string;
  /** null where the model's numbers are NaN. */
  readonly answer?: number | string | null;
  readonly answers?: readonly (number | string | null)[];
  readonly scores: readonly number[];
}

const jsonLine = (prediction: NamedPrediction): string => visible(JSON.stringify(prediction));

const csvHeading = ({ answer, answers = [], scores }: Prediction, classes: readonly string[] = []): string =>
  [
    "sample",
    ...(answer === undefined ? [] : ["answer"]),
    ...answers.map((_, i) => `answer.${i}`),
    ...scores.map((_, i) =>
      csvCell(`score.${answer === undefined && classes.length !== scores.length ? i : (classes[i] ?? i)}`),
    ),
  ].join(",");

const csvLine = ({ sample, answer, answers = [], scores }: NamedPrediction): string =>
  [
    csvCell(sample),
    ...(answer === undefined ? [] : [csvCell(answer ?? "")]),
    ...answers.map((one) => csvCell(one ?? "")),
    ...scores.map((score) => (Number.isFinite(score) ? Number(score.toPrecision(7)) : "")),
  ].join(",");
