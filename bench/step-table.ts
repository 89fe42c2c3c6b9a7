import { floor, own } from "./contender.ts";
import type { Spread } from "./statistics.ts";
import type { Conditions, ContenderFigures, NetworkResult, Ratios } from "./step-results.ts";

const peers = ["PyTorch eager", "eager, fused AdamW", "torch.compile"] as const;

/** The results as a Markdown table with two rows per network, and the runs and failures below it. */
export function stepTable(results: readonly NetworkResult[]): string {
  const headings = [
    "",
    "sorth-onnx, ms",
    ...peers.map((peer) => `÷ ${peer}`),
    "SOM adds (eager)",
    "÷ its floor",
    "peak MiB (÷ eager)",
    "above baseline (÷ eager)",
  ];
  const rows = results.flatMap((result) => [false, true].map((regularized) => rowOf(result, regularized)));
  return [
    `| ${headings.join(" | ")} |`,
    `|${headings.map(() => "---|").join("")}`,
    ...rows.map((cells) => `| ${cells.join(" | ")} |`),
    "",
    ...runsOf(results),
    ...results.flatMap(failuresOf),
  ].join("\n");
}

function rowOf(result: NetworkResult, regularized: boolean): string[] {
  const ratios = result.ratios.find((one) => one.regularized === regularized);
  const find = (runtime: string) =>
    result.contenders.find((one) => one.runtime === runtime && one.regularized === regularized);
  const ours = find(own);
  return [
    `${result.title}${regularized ? ", SOM" : ""}`,
    ours?.step ? spreadText(ours.step) : missing(ours),
    ...peers.map((peer) => {
      const ratio = ratios?.time[peer];
      return ratio ? spreadText(ratio, 2) : missing(find(peer));
    }),
    ...somCells(ratios),
    ...memoryCells(ours, ratios),
  ];
}

const missing = (figures: ContenderFigures | undefined): string =>
  figures?.error === undefined ? "" : "failed";

function somCells(ratios: Ratios | undefined): [string, string] {
  const percent = (spread: Spread | undefined) => (spread ? `${(100 * spread.median).toFixed(0)} %` : "–");
  const [ours, eager] = [ratios?.som?.[own], ratios?.som?.["PyTorch eager"]];
  const adds = ours ? `${percent(ours)} (${percent(eager)})` : "";
  return [adds, ratios?.floor ? spreadText(ratios.floor.ratio, 2) : ""];
}

function memoryCells(ours: ContenderFigures | undefined, ratios: Ratios | undefined): [string, string] {
  if (!ours?.memory) return ["", ""];
  const { steps, baseline } = ours.memory;
  const against = ratios?.memory["PyTorch eager"];
  const cell = (value: number, ratio: number | undefined) =>
    `${value.toFixed(0)}${ratio === undefined ? "" : ` (${ratio.toFixed(2)})`}`;
  return [cell(steps, against?.whole), cell(steps - baseline, against?.added)];
}

/** A median with its quartiles. */
export function spreadText({ median, quartiles }: Spread, digits = digitsFor(median)): string {
  const [low, high] = quartiles.map((value) => value.toFixed(digits));
  return `${median.toFixed(digits)} (${low}–${high})`;
}

const digitsFor = (milliseconds: number): number => (milliseconds < 10 ? 2 : milliseconds < 100 ? 1 : 0);

/** One line for each run, with the networks that it measured. */
export function runsOf(
  results: readonly (Conditions & { readonly network: string; readonly batch: number })[],
): string[] {
  const runs = new Map<string, string[]>();
  for (const { network, batch, date, commit, machine, threads, versions } of results) {
    const names = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
    const run = `${date.slice(0, 10)}, commit ${commit}, ${machine}, ${threads} threads; ${names.join(", ")}`;
    runs.set(run, [...(runs.get(run) ?? []), `${network} ${batch}`]);
  }
  return runs.size === 1
    ? [...runs.keys()]
    : [...runs].map(([run, names]) => `- ${names.join(", ")}: ${run}`);
}

function failuresOf({ title, contenders }: NetworkResult): string[] {
  return contenders.flatMap(({ runtime, regularized, error }) =>
    error === undefined
      ? []
      : [`- ${title}${regularized && runtime !== floor ? ", SOM" : ""}, ${runtime}: ${shortened(error)}`],
  );
}

const shortened = (message: string): string => (message.length > 200 ? `${message.slice(0, 200)}…` : message);
