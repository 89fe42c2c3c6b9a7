import { UsageError } from "../errors.ts";
import type { Shape } from "../graph/shapes.ts";
import type { Objective } from "../losses/objective.ts";
import type { Metric } from "./metric.ts";

/** The kinds of labels that losses read, each with its own figures. */
export type LabelKind = "classes" | "tokens" | "yes-or-no labels" | "numbers" | "other labels";

const kinds: ReadonlyMap<string, LabelKind> = new Map<string, LabelKind>([
  ...["bce", "binary-focal"].map((name) => [name, "yes-or-no labels"] as const),
  ...["mse", "l1", "huber", "smooth-l1"].map((name) => [name, "numbers"] as const),
]);

/** The kind of labels that a loss reads. */
export function kindOf({ name, perplexity }: Objective): LabelKind {
  if (perplexity) return "tokens";
  if (name === "cross-entropy") return "classes";
  return kinds.get(name) ?? "other labels";
}

/** Metrics with a name, and the kinds of labels that they are defined for. `top5` stands for every number of classes. */
const named: Readonly<Record<string, readonly LabelKind[]>> = {
  accuracy: ["classes", "tokens", "yes-or-no labels", "other labels"],
  top5: ["classes"],
  precision: ["classes", "yes-or-no labels"],
  recall: ["classes", "yes-or-no labels"],
  f1: ["classes", "yes-or-no labels"],
  auc: ["classes", "yes-or-no labels"],
  confusion: ["classes"],
  perplexity: ["classes", "tokens"],
  mse: ["numbers"],
  rmse: ["numbers"],
  mae: ["numbers"],
  r2: ["numbers"],
};

/** Names of all metrics. */
export const metricNames: readonly string[] = Object.keys(named);

/** Figures of which less is better. */
const errors = new Set(["perplexity", "mse", "rmse", "mae"]);

/** The k of a top-k accuracy, `top5` or `top-5`; undefined for other names. */
export function topOf(name: string): number | undefined {
  const [, k] = /^top-?([1-9]\d*)$/.exec(name) ?? [];
  return k === undefined ? undefined : Number(k);
}

/** Whether a metric has this name. */
export const isMetricName = (name: string): boolean =>
  Object.hasOwn(named, name) || topOf(name) !== undefined;

/** The name by which a metric's figure is found: `top-5` is `top5`. */
export function figureName(metric: string | Metric): string {
  const k = typeof metric === "string" ? topOf(metric) : undefined;
  return k === undefined ? (typeof metric === "string" ? metric : metric.name) : `top${k}`;
}

/** Whether more of a metric is better. */
export function betterOf(metric: string | Metric): "higher" | "lower" {
  if (typeof metric !== "string") return metric.better ?? "higher";
  return errors.has(metric) ? "lower" : "higher";
}

/** @throws UsageError for a metric that does not exist, or whose name another one has */
export function checkMetrics(metrics: readonly (string | Metric)[]): void {
  for (const metric of metrics) {
    if (typeof metric !== "string") checkOwn(metric);
    else if (!isMetricName(metric)) {
      throw new UsageError(
        `there is no metric "${metric}"; there are ${metricNames.join(", ")} (and top1, top2 …), and those of your own`,
      );
    }
  }
  const names = metrics.map(figureName);
  const twice = names.find((name, i) => names.indexOf(name) < i);
  if (twice !== undefined) throw new UsageError(`the metric "${twice}" is given twice`);
}

function checkOwn(metric: Metric): void {
  const { name, begin } = (metric ?? {}) as Partial<Metric>;
  if (typeof name !== "string" || name === "" || typeof begin !== "function") {
    throw new UsageError(
      "a metric of your own needs a name and begin(), which returns { add(sample), result() }",
    );
  }
  if (isMetricName(name) || name === "loss") {
    throw new UsageError(`a metric of your own is named "${name}" as one that is there already: rename it`);
  }
}

/**
 * Refuses metrics that are not defined for the labels of a loss.
 * @param shape - that of the prediction
 * @throws UsageError
 */
export function checkFits(metrics: readonly (string | Metric)[], objective: Objective, shape: Shape): void {
  const kind = kindOf(objective);
  const fitting = metricNames.filter((name) => named[name]?.includes(kind));
  for (const metric of metrics) {
    if (typeof metric !== "string") continue;
    const fits = fitting.includes(topOf(metric) === undefined ? metric : "top5");
    const classifies = metric !== "accuracy" || objective.evaluate([], [], 0, shape).correct !== undefined;
    if (fits && classifies) continue;
    const there = kind === "other labels" ? "none but metrics of your own" : fitting.join(", ");
    throw new UsageError(
      `the metric "${metric}" is not defined for the labels of ${objective.name} (${kind}); there it is ${there}`,
    );
  }
}
