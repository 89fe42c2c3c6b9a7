import { checkOptions } from "../../known-options.ts";
import { isObject } from "../../what-is.ts";
import { figureText } from "../angle-figures.ts";
import { type CurvePoint, curves, ratioAxis, stackedCurves } from "../plots/curves.ts";
import { clockText } from "../progress.ts";
import { epochsAt, type RunRecord, runRecord, type StepPoint } from "../run-record.ts";
import { angleTrends, epochAxis } from "./angle-trends.ts";
import type { Child, Elements } from "./elements.ts";
import { pageText } from "./page.ts";

/** Contents of the page besides the record. */
export interface RunPageOptions {
  /** Default: `Training run`. */
  readonly title?: string;
  /** Lines about the run: model, data, optimizer, penalty. */
  readonly facts?: readonly string[];
}

/** Writes the page of {@link runReportPage} in an empty document. */
export function runPage(
  document: Document,
  run: RunRecord | Iterable<unknown>,
  options: RunPageOptions = {},
): Promise<string> {
  checkOptions("runReportPage", options);
  const record = isObject(run) && "steps" in run ? (run as RunRecord) : runRecord(run as Iterable<unknown>);
  const { title = "Training run", facts = [] } = options;
  return pageText(document, title, (h) => [
    ...h.facts(...facts),
    summary(h, record),
    h.list(remarks(record)),
    record.steps.length === 0
      ? h.paragraph("No step was done.")
      : h.section("loss", "Loss", h.figures(loss(h, record), validation(h, record), accuracy(h, record))),
    ...metrics(h, record),
    ...penalties(h, record),
    ...angles(h, record),
    ...epochs(h, record),
  ]);
}

const shown = (value: number): string => figureText(value, "number");
const percent = (share: number): string => (Number.isNaN(share) ? "–" : `${(100 * share).toFixed(2)} %`);

/** The first and the last value of a curve. */
const ends = (points: readonly CurvePoint[], text = shown): string =>
  [points[0], points.at(-1)].map((point) => text(point?.y ?? Number.NaN)).join(" → ");

function summary(h: Elements, { steps, epochs, end, totalSteps }: RunRecord): Element {
  const last = epochs.at(-1);
  const step = steps.at(-1);
  const facts: readonly (readonly [string, string])[] = [
    ["steps", Number.isNaN(totalSteps) ? `${step?.step ?? 0}` : `${step?.step ?? 0} of ${totalSteps}`],
    ["epochs done", `${last?.epoch ?? 0}`],
    ["loss, last epoch", shown(last?.loss ?? Number.NaN)],
    ["validation loss", shown(last?.validationLoss ?? Number.NaN)],
    ["accuracy", percent(last?.accuracy ?? Number.NaN)],
    ["penalty in the loss", percent(step?.penaltyShare ?? Number.NaN)],
    ["time", end ? clockText(end.seconds) : "–"],
    ["samples a second", end ? `${Math.round(end.samplesPerSecond)}` : "–"],
  ];
  return h.figureList(facts.filter(([, value]) => value !== "–"));
}

function remarks({ steps, end, resumed, unreadable }: RunRecord): string[] {
  const last = steps.at(-1)?.step ?? 0;
  const stops: Readonly<Record<string, string>> = {
    aborted: `interrupted after step ${last}`,
    "max-steps": `stopped after step ${last}, as was asked for`,
    early: `stopped early, after step ${last}: the monitored figure no longer improved`,
    callback: `stopped by a callback after step ${last}`,
  };
  return [
    ...(end ? [] : [`The record breaks off after step ${last}: the run was cut off, or failed.`]),
    ...(end?.stopped === undefined ? [] : [`The run was ${stops[end.stopped] ?? end.stopped}.`]),
    ...resumed.map((step) => `Resumed after step ${step}; the time counts from there.`),
    ...(unreadable > 0
      ? [
          `${unreadable === 1 ? "1 line" : `${unreadable} lines`} of the record could not be read and ${unreadable === 1 ? "is" : "are"} left out.`,
        ]
      : []),
  ];
}

const stepAxis = { label: "step", tickFormat: "~s" } as const;

/** The curve of a figure over the steps, thinned out, with its band. */
const curveOf = (steps: readonly StepPoint[], value: (step: StepPoint) => number): CurvePoint[] =>
  thinned(steps.map((step) => ({ x: step.step, y: value(step) })));

/** Says how many steps a point of a curve stands for. */
function bandText(steps: readonly StepPoint[], points: readonly CurvePoint[]): string {
  const each = Math.ceil(steps.length / Math.max(points.length, 1));
  return each > 1 ? ` A point is the mean of ${each} steps, the band their smallest and largest.` : "";
}

function loss(h: Elements, { steps }: RunRecord): Element {
  const withPenalty = steps.some(({ penaltyShare }) => penaltyShare !== 0 && !Number.isNaN(penaltyShare));
  const total = {
    name: withPenalty ? "loss with penalty" : "loss",
    color: 0,
    points: curveOf(steps, (s) => s.loss),
  };
  const data = { name: "loss without", color: 1, points: curveOf(steps, (s) => s.dataLoss) };
  const series = withPenalty ? [total, data] : [total];
  const text = series.map(({ name, points }) => `${name} ${ends(points)}`).join(", ");
  return h.figure(
    "Training loss",
    curves(h.document, series, {
      label: `Loss of the steps: ${text}`,
      ...{ x: stepAxis, y: { label: "loss", zero: true } },
    }),
    { legend: h.legend(series), text: `${text}.${bandText(steps, total.points)}` },
  );
}

/** The curve of a figure over the epochs; undefined if no epoch has the figure. */
function byEpoch(
  record: RunRecord,
  value: (epoch: RunRecord["epochs"][number]) => number,
): CurvePoint[] | undefined {
  const points = record.epochs.map((epoch) => ({ x: epoch.epoch, y: value(epoch) }));
  return points.some(({ y }) => !Number.isNaN(y)) ? points : undefined;
}

function validation(h: Elements, record: RunRecord): Element | undefined {
  const points = byEpoch(record, ({ validationLoss }) => validationLoss);
  const training = byEpoch(record, ({ loss: mean }) => mean);
  if (!points || !training) return undefined;
  const series = [
    { name: "training, mean of the epoch", color: 0, points: training, dots: true },
    { name: "validation, without penalty", color: 2, points, dots: true },
  ];
  const best = points.reduce((a, b) => (b.y < a.y ? b : a));
  const text = `Validation loss ${ends(points)}, the least ${shown(best.y)} after epoch ${best.x}.`;
  return h.figure(
    "Validation loss",
    curves(h.document, series, {
      label: text,
      x: epochAxis([record]),
      y: { label: "loss", zero: true },
    }),
    { legend: h.legend(series), text },
  );
}

function accuracy(h: Elements, record: RunRecord): Element | undefined {
  const points = byEpoch(record, (epoch) => epoch.accuracy);
  if (!points) return undefined;
  const text = `${ends(points, percent)}.`;
  return h.figure(
    "Accuracy",
    curves(h.document, [{ color: 2, points, dots: true }], {
      label: `Accuracy after each epoch: ${text}`,
      x: epochAxis([record]),
      y: { label: "accuracy", tickFormat: (share: number) => `${+(100 * share).toFixed(2)} %` },
    }),
    { text },
  );
}

/** A curve for each further figure on the held-out samples. */
function metrics(h: Elements, record: RunRecord): Child[] {
  const drawn = metricsOf(record).flatMap((name) => {
    const points = byEpoch(record, (epoch) => epoch.metrics.get(name) ?? Number.NaN);
    if (!points) return [];
    const text = `${ends(points)}.`;
    const curve = curves(h.document, [{ color: 2, points, dots: true }], {
      label: `${name} after each epoch: ${text}`,
      ...{ x: epochAxis([record]), y: { label: name } },
    });
    return [h.figure(name, curve, { text })];
  });
  return drawn.length > 0 ? [h.section("metrics", "Held-out samples", h.figures(...drawn))] : [];
}

const metricsOf = ({ epochs: rows }: Pick<RunRecord, "epochs">): string[] => [
  ...new Set(rows.flatMap((row) => [...row.metrics.keys()])),
];

function penalties(h: Elements, record: RunRecord): Child[] {
  const share = shares(h, record.steps);
  const ratio = gradients(h, record);
  return share || ratio ? [h.section("penalty", "Penalty", h.figures(share, ...(ratio ?? [])))] : [];
}

function shares(h: Elements, steps: readonly StepPoint[]): Element | undefined {
  const names = [...new Set(steps.flatMap((step) => [...step.shares.keys()]))];
  const single = names.length === 0;
  const parts = single
    ? [["penalty", (s: StepPoint) => s.penaltyShare] as const]
    : names.map((name) => [name, (s: StepPoint) => s.shares.get(name) ?? 0] as const);
  const series = parts.map(([name, value], color) => ({ name, color, points: curveOf(steps, value) }));
  if (!series.some(({ points }) => points.some(({ y }) => y !== 0 && !Number.isNaN(y)))) return undefined;
  const text = series.map(({ name, points }) => `${name} ${ends(points, percent)}`).join(", ");
  return h.figure(
    "Share in the loss",
    stackedCurves(h.document, series, {
      label: `Share of each penalty in the loss: ${text}`,
      x: stepAxis,
      y: { label: "share of the loss", tickFormat: (part: number) => `${+(100 * part).toFixed(2)} %` },
    }),
    { legend: h.legend(series), text: `${text}.` },
  );
}

/** Most parameters whose ratio has its own curve; the table has all of them. */
const drawnParameters = 6;

function gradients(h: Elements, record: RunRecord): Element[] | undefined {
  const { gradients: points } = record;
  const last = points.at(-1);
  if (!last) return undefined;
  const curve = (value: (point: RunRecord["gradients"][number]) => number) =>
    points.map((point) => ({ x: epochsAt(record, point), y: value(point) }));
  const names = [...last.parameters].filter(([, ratio]) => ratio > 0).sort(([, a], [, b]) => b - a);
  const strongest = names.slice(0, drawnParameters).map(([name], color) => ({
    ...{ name, color, dots: true },
    points: curve(({ parameters }) => parameters.get(name) ?? Number.NaN),
  }));
  const axes = (series: readonly { readonly points: readonly CurvePoint[] }[]) => ({
    x: epochAxis([record]),
    y: { label: "‖w∇R‖ / ‖∇L‖", ...ratioAxis(series.flatMap((one) => one.points.map(({ y }) => y))) },
    rule: 1,
  });
  const total = [{ color: 0, dots: true, points: curve(({ ratio }) => ratio) }];
  const text = `${shown(points[0]?.ratio ?? Number.NaN)} → ${shown(last.ratio)}; the two gradients' cosine is ${figureText(last.cosine, "cosine")} at the end`;
  return [
    h.figure(
      "Gradients: penalty against loss",
      curves(h.document, total, { label: `Ratio of the norms of both gradients: ${text}`, ...axes(total) }),
      { text: `${text}. On one and the same batch, over all parameters.` },
    ),
    ...(strongest.length > 0
      ? [
          h.figure(
            "The same by parameter",
            curves(h.document, strongest, { label: "Ratio of the norms by parameter", ...axes(strongest) }),
            {
              legend: h.legend(strongest),
              text: `The ${strongest.length === names.length ? "" : `${strongest.length} strongest of ${names.length} `}parameters that the penalty acts on.`,
            },
          ),
        ]
      : []),
  ];
}

function angles(h: Elements, record: RunRecord): Child[] {
  if (record.angles.length === 0) return [];
  return [
    h.section(
      "angles",
      "Angles between units",
      h.paragraph("At 90° units are orthogonal; the band is the spread of all pairs."),
      angleTrends(h, [{ name: "run", color: 0, record }]),
    ),
  ];
}

function epochs(h: Elements, { epochs: rows, angles: points }: RunRecord): Child[] {
  if (rows.length === 0) return [];
  const columns = [
    ["epoch", (row: (typeof rows)[number]) => `${row.epoch}`],
    ["step", (row) => `${row.step}`],
    ["loss", (row) => shown(row.loss)],
    ["penalty", (row) => shown(row.penalty)],
    ["validation loss", (row) => shown(row.validationLoss)],
    ["accuracy", (row) => percent(row.accuracy)],
    ...metricsOf({ epochs: rows }).map(
      (name) => [name, (row: (typeof rows)[number]) => shown(row.metrics.get(name) ?? Number.NaN)] as const,
    ),
    ["samples/s", (row: (typeof rows)[number]) => `${Math.round(row.samplesPerSecond)}`],
  ] as const satisfies readonly (readonly [string, (row: (typeof rows)[number]) => string])[];
  const used = columns.filter(([, cell]) => rows.some((row) => cell(row) !== "–"));
  const layers = [...new Set(points.flatMap((point) => [...point.layers.keys()]))];
  const spread = (kind: "weights" | "responses") =>
    points.some((point) => [...point.layers.values()].some((layer) => layer[kind]))
      ? h.table(
          `Spread of the ${kind === "weights" ? "weight" : "response"} angles, in degrees`,
          [{ text: "epoch" }, ...layers.map((text) => ({ text }))],
          points.map(({ epoch, layers: found }) => [
            `${epoch}`,
            ...layers.map((layer) => figureText(found.get(layer)?.[kind]?.spread ?? Number.NaN, "angle")),
          ]),
        )
      : undefined;
  return [
    h.section(
      "numbers",
      "Epoch by epoch",
      h.table(
        "Figures of each epoch",
        used.map(([text]) => ({ text })),
        rows.map((row) => used.map(([, cell]) => cell(row))),
      ),
      spread("weights"),
      spread("responses"),
    ),
  ];
}

/** Most points of a drawn curve. */
const mostPoints = 240;

/**
 * A curve of at most 240 points. Each point is the mean of a group of neighbours, with their smallest and largest value as a
 * band. Shorter curves stay unchanged. Means skip numbers that are not finite.
 */
export function thinned(points: readonly { readonly x: number; readonly y: number }[]): CurvePoint[] {
  if (points.length <= mostPoints) return [...points];
  const size = Math.ceil(points.length / mostPoints);
  return Array.from({ length: Math.ceil(points.length / size) }, (_, part) => {
    const group = points.slice(part * size, (part + 1) * size);
    const values = group.map(({ y }) => y).filter(Number.isFinite);
    const sum = values.reduce((total, value) => total + value, 0);
    const last = group.at(-1);
    return {
      x: last?.x ?? 0,
      y: values.length > 0 ? sum / values.length : Number.NaN,
      low: values.length > 0 ? Math.min(...values) : Number.NaN,
      high: values.length > 0 ? Math.max(...values) : Number.NaN,
    };
  });
}
