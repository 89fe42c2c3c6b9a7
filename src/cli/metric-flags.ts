import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { Command } from "commander";
import { FileError, messageOf, UsageError } from "../errors.ts";
import type { Metric } from "../index.ts";
import { checkMetrics, figureName, isMetricName, metricNames } from "../metrics/table.ts";
import { figureAsked } from "../schedules/schedule.ts";
import type { FitFlags } from "./fit-flags.ts";

/** Flags that say what is measured on held-out samples. */
export interface MetricFlags {
  readonly metrics?: string;
}

/** Declares `--metrics`. @param when - where and when they are computed */
export function addMetricFlag(command: Command, when = "on held-out samples after each epoch"): void {
  command.option(
    "--metrics <names>",
    `figures to compute ${when}: ${metricNames.join(", ")} (or top1, top2 …), and .mjs files whose default export is a metric of your own or a list of them`,
  );
}

/** Whether a part of `--metrics` is a file. */
const isFile = (part: string): boolean => /\.[mc]?[jt]s$/.test(part);

const partsOf = (list: string): string[] => list.split(",").map((part) => part.trim());

/** The same list with the paths of its files changed. */
export const withFiles = (list: string, change: (path: string) => string): string =>
  partsOf(list)
    .map((part) => (isFile(part) ? change(part) : part))
    .join();

/**
 * The metrics that the flags name, and the one that is monitored.
 * @throws UsageError for names that do not exist; SorthError for a file that has no metric
 */
export async function metricsOf({
  metrics,
  monitor,
}: MetricFlags & Pick<FitFlags, "monitor">): Promise<(string | Metric)[] | undefined> {
  const found = (
    await Promise.all(
      partsOf(metrics ?? "")
        .filter(Boolean)
        .map(metricsIn),
    )
  ).flat();
  const figure = monitor === undefined ? undefined : figureAsked(monitor);
  if (figure !== undefined && figure !== "accuracy" && isMetricName(figure)) {
    if (!found.map(figureName).includes(figureName(figure))) found.push(figure);
  }
  if (metrics !== undefined && found.length === 0) throw new UsageError("--metrics names no metric");
  checkMetrics(found);
  return found.length > 0 ? found : undefined;
}

async function metricsIn(part: string): Promise<(string | Metric)[]> {
  if (!isFile(part)) return [part];
  let module: { readonly default?: Metric | readonly Metric[] };
  try {
    module = await import(pathToFileURL(resolve(part)).href);
  } catch (error) {
    throw new FileError(`"${part}" cannot be loaded: ${messageOf(error)}`);
  }
  if (module.default === undefined) {
    throw new FileError(`"${part}" has no default export: export default { name, begin() … }`);
  }
  return [module.default].flat() as Metric[];
}
