import { checkFields } from "../../check-arguments.ts";
import { checkDataset } from "../../data/check-dataset.ts";
import { type Dataset, mainColumn } from "../../data/dataset.ts";
import { imageForm } from "../../data/images/image-form.ts";
import { checkOptions } from "../../known-options.ts";
import type { ClassFigures } from "../../metrics/class-metrics.ts";
import type { LabelFigures } from "../../metrics/label-metrics.ts";
import { elementCount } from "../../onnx/tensor.ts";
import type { ModelEvaluation, WorstSample } from "../../runtime/model-evaluation.ts";
import { figureText } from "../angle-figures.ts";
import { cosineHeatMap } from "../plots/cosine-heat-map.ts";
import { pngOf } from "../png.ts";
import { nameOfSample } from "../sample-name.ts";
import type { Child, Elements } from "./elements.ts";
import { pageText } from "./page.ts";

/** Contents of the page besides the figures. */
export interface EvaluationPageOptions {
  /** Default: `Evaluation`. */
  readonly title?: string;
  /** Lines about the model and the data. */
  readonly facts?: readonly string[];
  /** Names of the classes by label. */
  readonly classes?: readonly string[];
}

/** Most classes whose counts are a table; with more, the picture and the most frequent confusions remain. */
const mostCounted = 40;
/** Confusions that are listed. */
const mostConfusions = 20;

/** Writes the page of `evaluationReportPage` in an empty document. */
export async function evaluationPage(
  document: Document,
  evaluation: ModelEvaluation,
  dataset: Dataset,
  options: EvaluationPageOptions = {},
): Promise<string> {
  checkFields("an evaluation is what evaluateModel gives", evaluation, "worst", "samples");
  checkDataset(dataset);
  checkOptions("evaluationReportPage", options);
  const { title = "Evaluation", facts = [], classes = [] } = options;
  const nameOf = (label: number | undefined) => (label === undefined ? "" : (classes[label] ?? `${label}`));
  const pictures = await Promise.all(evaluation.worst.map(({ sample }) => thumbnail(dataset, sample)));
  return pageText(
    document,
    title,
    (h) => [
      ...h.facts(...facts),
      summary(h, evaluation),
      classTable(h, evaluation, nameOf),
      labelTable(h, evaluation, nameOf),
      confusion(h, evaluation, nameOf),
      worst(h, evaluation.worst, pictures, { dataset, nameOf }),
    ],
    { images: pictures.some((picture) => picture !== undefined) },
  );
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
const figure = (value: number): string => figureText(value, "number");

function summary(h: Elements, evaluation: ModelEvaluation): Element {
  const { loss, accuracy, samples, perplexity, classes, labels, numbers, metrics = {} } = evaluation;
  const macro = classes?.macro ?? labels?.macro;
  const shown = ["accuracy", "perplexity", "precision", "recall", "f1", "rmse", "mae", "r2"];
  const asked = Object.entries(metrics).filter(([name]) => !shown.includes(name));
  const facts: readonly (readonly [string, string | undefined])[] = [
    ["samples", samples.toLocaleString("en-US")],
    ["loss", figure(loss)],
    ["accuracy", accuracy === undefined ? undefined : percent(accuracy)],
    [
      `top-${classes?.topK?.k} accuracy`,
      classes?.topK === undefined ? undefined : percent(classes.topK.accuracy),
    ],
    ["precision, mean", macro && percent(macro.precision)],
    ["recall, mean", macro && percent(macro.recall)],
    ["F1, mean", macro && percent(macro.f1)],
    ["AUC, mean", labels?.macro.auc?.toFixed(4)],
    ["perplexity", perplexity === undefined ? undefined : figure(perplexity)],
    ["RMSE", numbers && figure(numbers.rmse)],
    ["mean absolute error", numbers && figure(numbers.mae)],
    ["R²", numbers?.r2?.toFixed(4)],
    ...asked.map(([name, value]) => [name, figure(value)] as const),
  ];
  return h.figureList(facts.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));
}

const shares = [
  { text: "precision", meaning: "share of the samples put into this class that belong to it" },
  { text: "recall", meaning: "share of the samples of this class that were put into it" },
  { text: "F1", meaning: "harmonic mean of precision and recall" },
] as const;

type NameOf = (label: number | undefined) => string;

const classTable = (h: Elements, { classes }: ModelEvaluation, nameOf: NameOf): Child =>
  classes && h.section("classes", "Classes", shareTable(h, "class", classes.classes, nameOf));

const labelTable = (h: Elements, { labels }: ModelEvaluation, nameOf: NameOf): Child =>
  labels && h.section("labels", "Labels", shareTable(h, "label", labels.labels, nameOf));

function shareTable(
  h: Elements,
  kind: "class" | "label",
  rows: readonly (ClassFigures | LabelFigures)[],
  nameOf: NameOf,
): Element {
  const headings = [
    { text: kind, kind: "text" as const },
    ...shares,
    ...(kind === "label" ? [{ text: "AUC" }] : []),
    { text: "samples" },
  ];
  return h.table(
    `Figures of each ${kind}`,
    headings,
    rows.map((one) => [
      ...[nameOf(one.index), percent(one.precision), percent(one.recall), percent(one.f1)],
      ...(kind === "label" ? ["auc" in one && one.auc !== undefined ? one.auc.toFixed(4) : "–"] : []),
      one.samples.toLocaleString("en-US"),
    ]),
  );
}

function confusion(h: Elements, { classes }: ModelEvaluation, nameOf: NameOf): Child {
  const counts = classes?.confusion;
  if (!counts) return undefined;
  const size = counts.length;
  const cells = counts.flatMap((row) => {
    const total = row.reduce((a, b) => a + b, 0);
    return row.map((count) => (total === 0 ? null : count / total));
  });
  const picture = cosineHeatMap(
    h.document,
    { size, unitsPerCell: 1, cells },
    { label: "Share of each class (down) that was put into each class (across)", scale: 1 },
  );
  const wrong = counts
    .flatMap((row, label) => row.map((count, answer) => ({ label, answer, count })))
    .filter(({ label, answer, count }) => label !== answer && count > 0)
    .sort((a, b) => b.count - a.count)
    .slice(0, mostConfusions);
  return h.section(
    "confusion",
    "Confusion matrix",
    h.figures(
      h.figure("Classes (down) and answers (across)", picture, {
        text: "The stronger the colour, the larger the share of a class; right answers lie on the diagonal.",
      }),
    ),
    size > mostCounted
      ? h.paragraph(`The counts of ${size} × ${size} classes are in evaluate --json.`)
      : h.table(
          "Samples by class (down) and answer (across)",
          [{ text: "class", kind: "text" }, ...counts.map((_, c) => ({ text: nameOf(c) }))],
          counts.map((row, c) => [nameOf(c), ...row.map(String)]),
        ),
    wrong.length === 0
      ? h.paragraph("No sample was put into a wrong class.")
      : h.table(
          "Most frequent confusions",
          [{ text: "class", kind: "text" }, { text: "answer", kind: "text" }, { text: "samples" }],
          wrong.map(({ label, answer, count }) => [nameOf(label), nameOf(answer), `${count}`]),
        ),
  );
}

function worst(
  h: Elements,
  samples: readonly WorstSample[],
  pictures: readonly (string | undefined)[],
  { dataset, nameOf }: { readonly dataset: Dataset; readonly nameOf: NameOf },
): Child {
  if (samples.length === 0) return undefined;
  const classifies = samples.some(({ answer }) => answer !== undefined);
  const title = "Samples with the highest loss";
  if (pictures.every((picture) => picture === undefined)) {
    const rows = samples.map(({ sample, loss, label, answer }) =>
      [
        ...[nameOfSample(dataset, sample), figure(loss)],
        ...(classifies ? [nameOf(label), nameOf(answer)] : []),
      ].map(String),
    );
    const own = [
      { text: "class", kind: "text" as const },
      { text: "answer", kind: "text" as const },
    ];
    const headings = [
      { text: "sample", kind: "text" as const },
      { text: "loss" },
      ...(classifies ? own : []),
    ];
    return h.section("worst", title, h.table(title, headings, rows));
  }
  const items = samples.map(({ sample, loss, label, answer }, i) => {
    const name = `${nameOfSample(dataset, sample)}`;
    const picture = pictures[i];
    return h.figure(
      name,
      picture === undefined
        ? h.paragraph("no picture")
        : h.make("img", { src: picture, alt: name, class: "thumbnail" }),
      { text: `loss ${figure(loss)}${classifies ? `, ${nameOf(label)} taken for ${nameOf(answer)}` : ""}` },
    );
  });
  return h.section("worst", title, h.figures(...items));
}

/** Longest side of a thumbnail in pixels. */
const longest = 96;

/** A sample as a small picture, a `data:` address of a PNG; undefined for samples that are no images. */
async function thumbnail(dataset: Dataset, index: number): Promise<string | undefined> {
  const column = mainColumn(dataset.inputs?.values() ?? []);
  const form = column && imageForm(column.shape);
  if (!column || !form) return undefined;
  const { size, channelsFirst = false } = form;
  const values = new Float32Array(elementCount(column.shape));
  await column.fill([index], values);
  const { least, most } = column.bytes ? { least: 0, most: 255 } : column.range();
  const step = Math.max(1, Math.ceil(Math.max(size.height, size.width) / longest));
  const small = {
    ...{ height: Math.ceil(size.height / step), width: Math.ceil(size.width / step) },
    channels: size.channels,
  };
  const pixels = new Uint8Array(elementCount([small.height, small.width, small.channels]));
  for (let y = 0; y < small.height; y++) {
    for (let x = 0; x < small.width; x++) {
      for (let c = 0; c < small.channels; c++) {
        const place = y * step * size.width + x * step;
        const value = values[
          channelsFirst ? c * size.height * size.width + place : place * size.channels + c
        ] as number;
        const share = most > least ? (value - least) / (most - least) : 0;
        pixels[(y * small.width + x) * small.channels + c] = Math.round(255 * share);
      }
    }
  }
  return `data:image/png;base64,${btoa(String.fromCharCode(...pngOf(pixels, small)))}`;
}
