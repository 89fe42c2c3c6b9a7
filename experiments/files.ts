import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { machineDescription, replaceSection } from "../bench/machine.ts";
import { blankDocument } from "../src/report/pages/blank-document.ts";
import type { AnyExperiment } from "./experiment.ts";
import { type StepCost, stepCostTable } from "./step-cost.ts";

const here = (path: string): URL => new URL(path, import.meta.url);
const readme = here("README.md");

/** The committed results of an experiment. */
export const readResults = ({ name }: Pick<AnyExperiment, "name">): unknown =>
  JSON.parse(readFileSync(here(`results/${name}.json`), "utf8"));

/** Writes the results of an experiment. */
export function writeResults({ name }: AnyExperiment, results: unknown): void {
  mkdirSync(here("results"), { recursive: true });
  writeFileSync(here(`results/${name}.json`), `${JSON.stringify(results, undefined, 1)}\n`);
}

/** Draws the figures and writes the section of README.md from the stored results. */
export function drawResults(experiment: AnyExperiment): void {
  const results = readResults(experiment);
  mkdirSync(here("figures"), { recursive: true });
  for (const { name, svg } of figuresOf(experiment, results)) writeFileSync(here(`figures/${name}.svg`), svg);
  replaceSection(readme, experiment.name, sectionOf(experiment, results));
}

/** An experiment's section of README.md: its tables, and links to its figures. */
export function sectionOf(experiment: AnyExperiment, results: unknown): string {
  const figures = experiment
    .figures(results)
    .map(({ name, label }) => `![${label}](figures/${name}.svg)`)
    .join("\n");
  return `\n${experiment.tables(results)}\n\n${figures}\n`;
}

/** The experiment's figures as SVG files. */
export function figuresOf(experiment: AnyExperiment, results: unknown): { name: string; svg: string }[] {
  return experiment.figures(results).map((figure) => {
    const svg = figure.draw(blankDocument());
    svg.setAttribute("xmlns", "http://www.w3.org/2000/svg");
    return { name: figure.name, svg: `${svg.outerHTML}\n` };
  });
}

/** Writes the timings, which have their own file because they differ in every run. */
export function writeStepCost(cost: StepCost): void {
  const text = JSON.stringify({ machine: machineDescription(), ...cost }, undefined, 1);
  writeFileSync(here("results/step-cost.json"), `${text}\n`);
}

/** Writes the table of timings into README.md. */
export function drawStepCost(): void {
  const cost = readResults({ name: "step-cost" }) as StepCost & { machine: string };
  const { batch, threads, machine } = cost;
  const about = `CNN with BatchNorm, batch ${batch}, ${threads} thread, ${machine}; usual weights.`;
  replaceSection(readme, "step-cost", `\n${about}\n\n${stepCostTable(cost)}\n`);
}

/** The differences between two results, number by number: `fashion[3].accuracy.mean: 87.1, not 87.2`. */
export function differences(committed: unknown, found: unknown, path = ""): string[] {
  // JSON stores NaN and infinity as null.
  if (typeof found === "number" && !Number.isFinite(found)) return differences(committed, null, path);
  if (typeof committed !== "object" || typeof found !== "object" || committed === null || found === null) {
    return Object.is(committed, found) ? [] : [`${path || "result"}: ${found}, not ${committed}`];
  }
  const keys = new Set([...Object.keys(committed), ...Object.keys(found)]);
  const at = (value: object, key: string) => (value as Record<string, unknown>)[key];
  return [...keys].flatMap((key) =>
    differences(
      at(committed, key),
      at(found, key),
      Array.isArray(found) ? `${path}[${key}]` : `${path}.${key}`.replace(/^\./, ""),
    ),
  );
}
