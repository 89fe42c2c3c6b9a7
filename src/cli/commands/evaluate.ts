import type { Command } from "commander";
import { conversionOf } from "../../data/conversion.ts";
import type { Dataset } from "../../data/dataset.ts";
import { objectiveOfTexts } from "../../data/text/objective.ts";
import { evaluateModel, evaluationReportPage, type ModelEvaluation, readModel } from "../../index.ts";
import { countFromZero } from "../../numbers.ts";
import { writeFileSafely } from "../../onnx/write-file.ts";
import { nameOfSample } from "../../report/sample-name.ts";
import { evaluationText } from "../evaluation-text.ts";
import { withLossFiles } from "../loss-files.ts";
import { addMetricFlag, type MetricFlags, metricsOf } from "../metric-flags.ts";
import {
  addModelRunFlags,
  dataSourceOf,
  type ModelRunFlags,
  modelRunOf,
  partOf,
} from "../model-run-flags.ts";
import { given, numberIn } from "../options.ts";
import { checkOutput, outputBeside } from "../output.ts";
import { readData } from "../read-data.ts";
import { type CommandStreams, type SharedFlags, Terminal } from "../terminal.ts";

interface Flags extends SharedFlags, ModelRunFlags, MetricFlags {
  readonly worst: number;
  readonly json?: true;
  readonly html?: string | true;
}

/** `evaluate`: figures of a model on data. */
export function define(command: Command, streams: CommandStreams): void {
  command.argument("<model>", "an ONNX model with its weights");
  addModelRunFlags(
    command,
    "the loss to compute, which also decides on the other figures (default: the one that the model was trained with, else cross-entropy)",
  );
  addMetricFlag(command, "besides those of the loss");
  command
    .option(
      "--worst <count>",
      "how many of the samples with the highest loss to list",
      numberIn(countFromZero),
      10,
    )
    .option("--json", "print all figures as JSON")
    .option(
      "--html [file]",
      "also write a page with figures, confusion matrix and the samples with the highest loss (default: beside the model, .evaluation.html)",
    );
  command.action(async (path: string, flags: Flags) => {
    const terminal = new Terminal(streams, flags);
    const source = dataSourceOf(flags);
    const page = flags.html === true ? outputBeside(path, "evaluation", "html") : flags.html;
    if (page !== undefined) await checkOutput(page, terminal.write, "--html");
    const metrics = await metricsOf(flags);
    const model = await readModel(path);
    const data = await readData(source, terminal, flags, { model, conversion: conversionOf(model) });
    const part = partOf(data, flags);
    const { worst } = flags;
    const run = modelRunOf(await withLossFiles(flags), data.normalize, terminal, part);
    const trained = conversionOf(model);
    const objective = run.objective && objectiveOfTexts(run.objective, (data.conversion ?? trained)?.text);
    const options = { ...run, ...given({ objective, metrics }), worst };
    const evaluation = await evaluateModel(model, part, options);
    const classes = data.conversion?.classes ?? trained?.classes;
    if (page !== undefined) {
      const facts = [`${path} on ${part.name}.`];
      const html = await evaluationReportPage(evaluation, part, { facts, ...given({ classes }) });
      await writeFileSafely(page, html, terminal.write);
    }
    if (flags.json) terminal.json(namedEvaluation(evaluation, part, classes));
    else {
      const { bold: paint } = terminal.colors;
      terminal.print(evaluationText(evaluation, { data: part, classes, width: terminal.width, paint }));
    }
    if (command.getOptionValueSource("worst") === "cli" && worst > 0 && evaluation.worst.length === 0) {
      terminal.note("--worst: this loss is computed for whole batches, so no samples are listed");
    }
    if (page !== undefined) terminal.note(`page: ${page}`);
  });
}

/** The figures with the files of samples and the names of classes, where these are known. */
function namedEvaluation(evaluation: ModelEvaluation, data: Dataset, names: readonly string[] | undefined) {
  const { classes, labels, worst } = evaluation;
  const withName = <T extends { readonly index: number }>(one: T) => ({
    ...one,
    ...given({ name: names?.[one.index] }),
  });
  const nameOf = (label: number) => (label < 0 ? null : (names?.[label] ?? label));
  return {
    ...evaluation,
    ...(classes && { classes: { ...classes, classes: classes.classes.map(withName) } }),
    ...(labels && { labels: { ...labels, labels: labels.labels.map(withName) } }),
    worst: worst.map(({ sample, loss, label, answer }) => ({
      ...{ sample: nameOfSample(data, sample), loss },
      ...(label !== undefined && { label: nameOf(label) }),
      ...(answer !== undefined && { answer: nameOf(answer) }),
    })),
  };
}
