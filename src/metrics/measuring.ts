import { UsageError } from "../errors.ts";
import type { Shape } from "../graph/shapes.ts";
import type { Objective } from "../losses/objective.ts";
import { elementCount } from "../onnx/tensor.ts";
import { whatIs } from "../what-is.ts";
import { ClassMetrics, mostConfused, rankOf, share } from "./class-metrics.ts";
import { classesOf, classRows } from "./class-rows.ts";
import { areaUnderCurve, LabelMetrics } from "./label-metrics.ts";
import type { Measured, Metric, MetricPass, MetricSample } from "./metric.ts";
import { NumberMetrics } from "./number-metrics.ts";
import { checkFits, figureName, kindOf, topOf } from "./table.ts";

/** Results of a batch. */
interface MeasuredBatch {
  /** The prediction, [rows, …]. */
  readonly scores: ArrayLike<number>;
  readonly labels: ArrayLike<number>;
  /** Its samples that count; a fixed batch is filled up. */
  readonly count: number;
  /** Which places count, where a mask says it: those above 0. */
  readonly mask?: ArrayLike<number> | undefined;
}

/** The figures that the evaluation computes itself. */
interface Totals {
  readonly loss: number;
  readonly accuracy: number | undefined;
}

/** One pass over a dataset. */
export interface MeasuringPass {
  add(batch: MeasuredBatch): void;
  report(totals: Totals): Measured;
}

/** Counts samples for some of the metrics. */
interface Counter {
  add(sample: MetricSample & { readonly mask?: ArrayLike<number> | undefined }): void;
  report(totals: Totals): Partial<Measured>;
}

/** More labels than these for one sample get no figures of their own. */
const mostLabels = 10_000;

/**
 * Prepares passes that compute metrics from the predictions that a loss reads, each sample once.
 * @param shape - that of the prediction for a batch, [rows, …]; a sample may have several rows
 * @param batch - samples of a batch
 * @param isMasked - whether batches come with a mask
 * @throws UsageError for metrics that are not defined for the labels of the loss
 */
export function measuring(
  metrics: readonly (string | Metric)[],
  objective: Objective,
  shape: Shape,
  batch: number,
  isMasked = false,
): () => MeasuringPass {
  checkFits(metrics, objective, shape);
  const kind = kindOf(objective);
  if (isMasked && (kind === "yes-or-no labels" || kind === "numbers")) {
    throw new UsageError(`metrics of ${kind} cannot leave out what a mask does: leave metrics out`);
  }
  const rows = (shape[0] ?? batch) / batch;
  const ofSample: Shape = [rows, ...shape.slice(1)];
  const width = elementCount(ofSample);
  return () => {
    const counters = countersFor(metrics, objective, ofSample);
    return {
      add({ scores, labels, count, mask }) {
        const ofMask = (mask?.length ?? 0) / batch;
        const ofLabels = labels.length / batch;
        for (let i = 0; i < count; i++) {
          const sample = {
            scores: part(scores, i * width, width),
            labels: part(labels, i * ofLabels, ofLabels),
            shape: ofSample,
            ...(mask && { mask: part(mask, i * ofMask, ofMask) }),
          };
          for (const counter of counters) counter.add(sample);
        }
      },
      report: (totals) =>
        joined(
          counters.map((counter) => counter.report(totals)),
          metrics,
        ),
    };
  };
}

/** Numbers of an array from a place on; NaN beyond its end. */
export const part = (values: ArrayLike<number>, from: number, length: number): number[] =>
  Array.from({ length }, (_, i) => values[from + i] ?? Number.NaN);

/** All figures, in the order in which they were asked for. */
function joined(parts: readonly Partial<Measured>[], metrics: readonly (string | Metric)[]): Measured {
  const all: Record<string, number> = Object.assign({}, ...parts.map((one) => one.metrics));
  const perClass: NonNullable<Measured["perClass"]> = Object.assign({}, ...parts.map((one) => one.perClass));
  const confusion = parts.find((one) => one.confusion)?.confusion;
  const names = metrics.map(figureName).filter((name) => name in all);
  return {
    metrics: Object.fromEntries(names.map((name) => [name, all[name] ?? Number.NaN])),
    ...(Object.keys(perClass).length > 0 && { perClass }),
    ...(confusion && { confusion }),
  };
}

function countersFor(metrics: readonly (string | Metric)[], objective: Objective, shape: Shape): Counter[] {
  const names = new Set(metrics.filter((metric) => typeof metric === "string"));
  const own = metrics.filter((metric) => typeof metric !== "string");
  const kind = kindOf(objective);
  return [
    ofTotals(names),
    ...(kind === "classes" ? ofClasses(names, objective, shape) : []),
    ...(kind === "yes-or-no labels" ? ofLabels(names, shape) : []),
    ...(kind === "numbers" ? [ofNumbers(shape)] : []),
    ...own.map(ofOwn),
  ];
}

function ofTotals(names: ReadonlySet<string>): Counter {
  return {
    add() {},
    report: ({ loss, accuracy }) => ({
      metrics: {
        ...(names.has("accuracy") && accuracy !== undefined && { accuracy }),
        ...(names.has("perplexity") && { perplexity: Math.exp(loss) }),
      },
    }),
  };
}

const ofEach = ["precision", "recall", "f1"] as const;

function ofClasses(names: ReadonlySet<string>, objective: Objective, shape: Shape): Counter[] {
  const classes = classesOf(objective, shape);
  const rows = classRows(objective, shape);
  const each =
    (count: (scores: readonly number[], label: number) => void): Counter["add"] =>
    ({ scores, labels, mask }) => {
      for (const row of rows(scores, labels, mask)) count(row.scores, row.label);
    };
  const figures = ofEach.filter((name) => names.has(name));
  if (names.has("confusion") && classes > mostConfused) {
    throw new UsageError(
      `the metric "confusion" would write ${classes} times ${classes} numbers each epoch: it is for up to ${mostConfused} classes`,
    );
  }
  const counters: Counter[] = [];
  if (figures.length > 0 || names.has("confusion")) {
    const counted = new ClassMetrics(classes);
    counters.push({
      add: each((scores, label) => counted.add(scores, label)),
      report: () => {
        const { macro, classes: all, confusion } = counted.report();
        return {
          metrics: Object.fromEntries(figures.map((name) => [name, macro[name]])),
          ...(classes <= mostConfused && {
            perClass: Object.fromEntries(figures.map((name) => [name, all.map((one) => one[name])])),
          }),
          ...(names.has("confusion") && confusion && { confusion }),
        };
      },
    });
  }
  for (const k of [...names].flatMap((name) => topOf(name) ?? [])) {
    let [among, counted] = [0, 0];
    counters.push({
      add: each((scores, label) => {
        counted += 1;
        if (rankOf(scores, label, classes) < k) among += 1;
      }),
      report: () => ({ metrics: { [`top${k}`]: share(among, counted) } }),
    });
  }
  if (names.has("auc")) {
    const areas = new ClassAreas(classes);
    counters.push({
      add: each((scores, label) => areas.add(scores, label)),
      report: () => {
        const all = areas.areas();
        const there = all.filter((area) => area !== undefined);
        return {
          metrics: { auc: there.reduce((a, b) => a + b, 0) / there.length },
          ...(classes <= mostConfused && { perClass: { auc: all.map((area) => area ?? null) } }),
        };
      },
    });
  }
  return counters;
}

function ofLabels(names: ReadonlySet<string>, shape: Shape): Counter[] {
  const figures = [...ofEach, "auc" as const].filter((name) => names.has(name));
  if (figures.length === 0) return [];
  const width = elementCount(shape);
  if (width > mostLabels) {
    throw new UsageError(
      `the metric "${figures[0]}" is for up to ${mostLabels} yes-or-no labels a sample, and this model has ${width}`,
    );
  }
  const counted = new LabelMetrics(width);
  return [
    {
      add: ({ scores, labels }) => counted.add(scores, labels),
      report: () => {
        const { macro, labels } = counted.report();
        return {
          metrics: Object.fromEntries(figures.map((name) => [name, macro[name] ?? Number.NaN])),
          perClass: Object.fromEntries(figures.map((name) => [name, labels.map((one) => one[name] ?? null)])),
        };
      },
    },
  ];
}

function ofNumbers(shape: Shape): Counter {
  const counted = new NumberMetrics(elementCount(shape));
  return {
    add: ({ scores, labels }) => counted.add(scores, labels),
    report: () => {
      const { mse, rmse, mae, r2 = Number.NaN } = counted.report();
      return { metrics: { mse, rmse, mae, r2 } };
    },
  };
}

function ofOwn({ name, begin }: Metric): Counter {
  const pass = begin();
  const { add, result } = (pass ?? {}) as Partial<MetricPass>;
  if (typeof add !== "function" || typeof result !== "function") {
    throw new UsageError(
      `begin() of the metric "${name}" returns { add(sample), result() }, not ${whatIs(pass)}`,
    );
  }
  const report = () => {
    const figure: unknown = pass.result();
    if (typeof figure === "number") return { metrics: { [name]: figure } };
    throw new UsageError(`result() of the metric "${name}" returns a number, not ${whatIs(figure)}`);
  };
  return { add: (sample) => pass.add(sample), report };
}

/**
 * Areas under the curve of each class against all others, by its probability (the softmax of a row's scores): scikit-learn's
 * `roc_auc_score(multi_class="ovr")`, where the macro average is the mean over the classes.
 */
class ClassAreas {
  readonly #probabilities: number[][];
  readonly #labels: number[] = [];

  constructor(classes: number) {
    this.#probabilities = Array.from({ length: classes }, () => []);
  }

  /** Counts one row. */
  add(scores: readonly number[], label: number): void {
    const most = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const powers = scores.map((score) => Math.exp(score - most));
    const sum = powers.reduce((a, b) => a + b, 0);
    for (const [c, power] of powers.entries()) this.#probabilities[c]?.push(power / sum);
    this.#labels.push(label);
  }

  /** The area of each class; undefined for one that no row, or every row, belongs to. */
  areas(): (number | undefined)[] {
    return this.#probabilities.map((probabilities, c) =>
      areaUnderCurve(
        probabilities,
        this.#labels.map((label) => label === c),
      ),
    );
  }
}
