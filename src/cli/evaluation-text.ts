import type { Dataset } from "../data/dataset.ts";
import {
  type ClassFigures,
  type EvaluationResult,
  formatTable,
  type ModelEvaluation,
  type TermFigures,
  type WorstSample,
} from "../index.ts";
import { counted } from "../passes/pass.ts";
import { nameOfSample } from "../report/sample-name.ts";
import { fitTable } from "../report/table.ts";

/** More classes than these are left out of tables on a terminal; `--json` has all. */
const mostClasses = 20;

/** How an evaluation is printed. */
interface TextOptions {
  readonly data: Dataset;
  /** Names of the classes by label, where they are known. */
  readonly classes: readonly string[] | undefined;
  readonly width: number;
  readonly paint: (heading: string) => string;
}

const percent = (value: number): string => `${(100 * value).toFixed(2)} %`;
const nameIn = ({ classes }: TextOptions, label: number): string =>
  label < 0 ? "–" : (classes?.[label] ?? String(label));
const figure = (value: number): string => (Number.isNaN(value) ? "not defined" : value.toPrecision(4));

/** An evaluation as text: a line of figures, then tables. */
export function evaluationText(evaluation: ModelEvaluation, options: TextOptions): string {
  const { loss, accuracy, samples, perplexity, worst, metrics = {} } = evaluation;
  const shown = ["accuracy", ...(perplexity === undefined ? [] : ["perplexity"])];
  const asked = Object.entries(metrics).filter(([name]) => !shown.includes(name));
  const first = [
    `${options.data.name}: ${counted(samples, "sample")}`,
    `loss ${figure(loss)}`,
    ...(accuracy === undefined ? [] : [`accuracy ${percent(accuracy)}`]),
    ...(perplexity === undefined ? [] : [`perplexity ${figure(perplexity)}`]),
    ...asked.map(([name, value]) => `${name} ${figure(value)}`),
  ];
  const outputs = Object.entries(evaluation.outputs ?? {}).flatMap(([name, own]) => {
    const text = figures(own, options);
    return text.length === 0 ? [] : [options.paint(name), ...text];
  });
  const each = lossesText(evaluation);
  const sections = [
    ...[[first.join(", "), ...each].join("\n"), ...figures(evaluation, options), ...outputs],
    ...worstTable(worst, options),
  ];
  return sections.join("\n\n");
}

/** A line about each of several losses: `logits: loss 0.42, accuracy 91.00 %; box: loss 0.11`. */
export function lossesText({
  losses,
  accuracies = {},
}: { [K in "losses" | "accuracies"]?: EvaluationResult[K] | undefined }): string[] {
  if (!losses) return [];
  const texts = Object.entries(losses).map(([name, loss]) => {
    const accuracy = accuracies[name];
    return `${name}: loss ${figure(loss)}${accuracy === undefined ? "" : `, accuracy ${percent(accuracy)}`}`;
  });
  return [texts.join("; ")];
}

function figures({ classes, labels, numbers }: TermFigures, options: TextOptions): string[] {
  if (numbers) {
    const r2 = numbers.r2 === undefined ? "none (a target is constant)" : numbers.r2.toFixed(4);
    return [`RMSE ${figure(numbers.rmse)}, mean absolute error ${figure(numbers.mae)}, R² ${r2}`];
  }
  if (labels)
    return [shareTable("label", labels.labels, labels.macro, options), ...leftOut(labels.labels.length)];
  if (!classes) return [];
  const { macro, topK } = classes;
  return [
    ...(topK ? [`top-${topK.k} accuracy ${percent(topK.accuracy)}`] : []),
    shareTable("class", classes.classes, macro, options),
    ...(classes.confusion && classes.classes.length <= mostClasses
      ? [`rows by class (down) and answer (across)\n${confusionTable(classes.confusion, options)}`]
      : leftOut(classes.classes.length)),
  ];
}

type Shares = Pick<ClassFigures, "precision" | "recall" | "f1"> & { readonly auc?: number | undefined };

/** The figures of each class or label, and their mean. */
function shareTable(
  kind: "class" | "label",
  each: readonly (Shares & Pick<ClassFigures, "index" | "samples">)[],
  macro: Shares,
  options: TextOptions,
): string {
  const row = (name: string, { precision, recall, f1, auc }: Shares, samples: string) => [
    ...[name, percent(precision), percent(recall), percent(f1)],
    ...(kind === "label" ? [auc === undefined ? "" : auc.toFixed(4)] : []),
    samples,
  ];
  const headings = [kind, "precision", "recall", "F1", ...(kind === "label" ? ["AUC"] : []), "samples"];
  const rows = each
    .slice(0, mostClasses)
    .map((one) => row(nameIn(options, one.index), one, String(one.samples)));
  return formatTable(
    headings.map((heading) => ({ heading, align: "right" as const })),
    [...rows, row("mean", macro, "")],
    options.paint,
  );
}

const leftOut = (total: number): string[] =>
  total > mostClasses ? [`${total - mostClasses} more of ${total}: --json has all`] : [];

function confusionTable(confusion: readonly (readonly number[])[], options: TextOptions): string {
  const { width, paint } = options;
  const columns = [
    { heading: "", align: "right" as const },
    ...confusion.map((_, c) => ({ heading: nameIn(options, c), align: "right" as const, rank: 1 })),
  ];
  const rows = confusion.map((row, label) => [nameIn(options, label), ...row.map(String)]);
  return fitTable(columns, rows, width, paint).text;
}

function worstTable(worst: readonly WorstSample[], options: TextOptions): string[] {
  if (worst.length === 0) return [];
  const classes = worst.some(({ answer }) => answer !== undefined);
  const columns = ["sample", "loss", ...(classes ? ["class", "answer"] : [])];
  const rows = worst.map(({ sample, loss, label, answer }) => [
    ...[String(nameOfSample(options.data, sample)), figure(loss)],
    ...(classes ? [label, answer].map((one) => (one === undefined ? "" : nameIn(options, one))) : []),
  ]);
  const table = formatTable(
    columns.map((heading) => ({ heading, align: "right" as const })),
    rows,
    options.paint,
  );
  return [`samples with the highest loss\n${table}`];
}
