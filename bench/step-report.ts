import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem, type } from "node:os";
import { median } from "./contender.ts";

/** Times of one contender in milliseconds per step; the time of a round is the mean of its steps. */
export interface StepTiming {
  readonly runtime: string;
  readonly network: string;
  readonly regularized: boolean;
  readonly median: number;
  readonly minimum: number;
  /** Times of the rounds, which show how steady the machine was. */
  readonly rounds: readonly number[];
}

/** The results of a run of the benchmark. */
export interface StepReport {
  readonly date: string;
  readonly machine: string;
  readonly threads: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly networks: Readonly<Record<string, string>>;
  readonly timings: readonly StepTiming[];
  readonly ratios: readonly StepRatios[];
}

/** Ratios for one network. Below 1, sorth-onnx is faster. */
export interface StepRatios {
  readonly network: string;
  readonly regularized: boolean;
  /** By runtime: our median divided by that runtime's. */
  readonly against: Readonly<Record<string, number>>;
  /** By runtime: the cost of SOM, as time with SOM / plain time − 1. Only for rows with SOM. */
  readonly overhead?: Readonly<Record<string, number>>;
}

export const own = "sorth-onnx";

const round = (value: number, digits = 3): number => Number(value.toFixed(digits));

/** Description of processor, memory and system, on which timings depend. */
export function machineDescription(): string {
  const all = cpus();
  return `${all[0]?.model.trim() ?? "unknown processor"}, ${all.length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()} ${release()}`;
}

/** Summarizes the times of the rounds. */
export function timingOf(
  contender: Pick<StepTiming, "runtime" | "network" | "regularized">,
  rounds: readonly number[],
): StepTiming {
  const { runtime, network, regularized } = contender;
  return {
    ...{ runtime, network, regularized },
    median: round(median(rounds)),
    minimum: round(Math.min(...rounds)),
    rounds: rounds.map((time) => round(time)),
  };
}

/** Ratios of medians, per network, plain and regularized. */
export function ratiosOf(timings: readonly StepTiming[]): StepRatios[] {
  const find = (runtime: string, network: string, regularized: boolean): StepTiming | undefined =>
    timings.find((t) => t.runtime === runtime && t.network === network && t.regularized === regularized);
  const runtimes = [...new Set(timings.map(({ runtime }) => runtime))];
  return timings
    .filter(({ runtime }) => runtime === own)
    .map(({ network, regularized, median: ours }) => {
      const entries = (value: (runtime: string) => number | undefined): Record<string, number> =>
        Object.fromEntries(
          runtimes.flatMap((runtime) => {
            const number = value(runtime);
            return number === undefined ? [] : [[runtime, round(number)]];
          }),
        );
      const against = entries((runtime) => {
        const theirs = runtime === own ? undefined : find(runtime, network, regularized);
        return theirs && ours / theirs.median;
      });
      const overhead = entries((runtime) => {
        const [with_, without] = [find(runtime, network, true), find(runtime, network, false)];
        return with_ && without && with_.median / without.median - 1;
      });
      return { network, regularized, against, ...(regularized ? { overhead } : {}) };
    });
}

/** The results as a Markdown table. */
export function stepTable({
  timings,
  networks,
  machine,
  versions,
  threads,
  date,
  ratios,
}: StepReport): string {
  const runtimes = [...new Set(timings.map(({ runtime }) => runtime))];
  const rows = Object.entries(networks).flatMap(([network, title]) =>
    [false, true].map((regularized) => {
      const cells = runtimes.map((runtime) => {
        const timing = timings.find(
          (t) => t.runtime === runtime && t.network === network && t.regularized === regularized,
        );
        if (!timing) return "–";
        const ratio = ratios.find((r) => r.network === network && r.regularized === regularized);
        const against = ratio?.against[runtime];
        const overhead = regularized
          ? ratios.find((r) => r.network === network && r.regularized)?.overhead?.[runtime]
          : undefined;
        const notes = [
          ...(against === undefined ? [] : [`ours ÷ theirs ${against.toFixed(2)}`]),
          ...(overhead === undefined
            ? []
            : [`SOM ${overhead < 0 ? "" : "+"}${(100 * overhead).toFixed(0)} %`]),
        ];
        return `${timing.median.toFixed(2)} ms${notes.length > 0 ? ` (${notes.join(", ")})` : ""}`;
      });
      return `| ${title}${regularized ? ", SOM" : ""} | ${cells.join(" | ")} |`;
    }),
  );
  return [
    `Medians of a step; ${date.slice(0, 10)}, ${machine}, ${threads} threads;`,
    `${Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ")}.`,
    "",
    `| | ${runtimes.join(" | ")} |`,
    `|---|${runtimes.map(() => "---|").join("")}`,
    ...rows,
  ].join("\n");
}

/** Replaces the text between `<!-- name -->` and `<!-- /name -->` in a Markdown file. */
export function replaceSection(file: URL, name: string, text: string): void {
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const old = readFileSync(file, "utf8");
  const [from, to] = [old.indexOf(start), old.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${file.pathname} has no section ${start} … ${end}`);
  writeFileSync(file, `${old.slice(0, from + start.length)}\n${text}\n${old.slice(to)}`);
}
