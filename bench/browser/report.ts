import { readFileSync, writeFileSync } from "node:fs";
import { own } from "../contender.ts";
import { commitDescription, machineDescription, replaceSection } from "../machine.ts";
import { type Spread, spreadOf } from "../statistics.ts";
import { spreadText } from "../step-table.ts";
import type { BrowserContender } from "./pages.ts";

/** What was timed. */
export interface About {
  readonly title: string;
  readonly chromium: string;
  readonly versions: Readonly<Record<string, string>>;
  /** The WebGPU adapter, if there is one. */
  readonly adapter: string | undefined;
}

interface Figures extends Omit<BrowserContender, "page"> {
  readonly step?: Spread;
  readonly rounds?: readonly number[];
  /** Our time divided by this one's, round by round. */
  readonly ratio?: Spread;
  readonly error?: string;
}

/** The name of a contender in messages. */
export const titleOf = (contender: BrowserContender): string =>
  `${placeOf(contender)}${contender.regularized ? ", SOM" : ""}`;

const placeOf = ({ runtime, device, threads }: BrowserContender): string =>
  `${runtime}, ${device === "webgpu" ? "WebGPU" : `${threads} thread${threads > 1 ? "s" : ""}`}`;

/** Prints the table, and writes it with all figures if `writes`. */
export function report(
  contenders: readonly BrowserContender[],
  times: ReadonlyMap<BrowserContender, readonly number[]>,
  failures: ReadonlyMap<BrowserContender, string>,
  about: About,
  writes: boolean,
): void {
  const timesOf = (one: BrowserContender | undefined) => (one && !failures.has(one) && times.get(one)) || [];
  const oursBeside = ({ device, threads, regularized }: BrowserContender) =>
    contenders.find(
      (one) =>
        one.runtime === own &&
        one.device === device &&
        one.threads === threads &&
        one.regularized === regularized,
    );
  const figures: Figures[] = contenders.map((contender) => {
    const { runtime, device, threads, regularized } = contender;
    const [theirs, ours] = [timesOf(contender), timesOf(oursBeside(contender))];
    const error = failures.get(contender);
    return {
      ...{ runtime, device, threads, regularized },
      ...(error === undefined ? { step: spreadOf(theirs), rounds: theirs } : { error }),
      ...(runtime !== own &&
        ours.length === theirs.length &&
        ours.length > 0 && { ratio: spreadOf(ours.map((time, i) => time / (theirs[i] ?? Number.NaN))) }),
    };
  });
  const cell = (i: number) => {
    const { step, ratio, error }: Partial<Figures> = figures[i] ?? {};
    if (error !== undefined || !step) return "failed";
    return `${spreadText(step)} ms${ratio ? `; ours ÷ theirs ${spreadText(ratio, 2)}` : ""}`;
  };
  const rows = contenders.flatMap((contender, i) => {
    if (contender.regularized) return [];
    const som = contenders.findIndex((one) => one.regularized && placeOf(one) === placeOf(contender));
    return [`| ${placeOf(contender)} | ${cell(i)} | ${cell(som)} |`];
  });
  const date = new Date().toISOString();
  const manifest = new URL("../../node_modules/onnxruntime-web/package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
  const versions = { "onnxruntime-web in sorth-onnx": version, ...about.versions };
  const table = [
    `Medians of a step with quartiles, ${about.title}; ${date.slice(0, 10)}, commit ${commitDescription()},`,
    `${machineDescription()}, Chromium ${about.chromium}, WebGPU adapter: ${about.adapter ?? "none"};`,
    `${Object.entries(versions)
      .map(([name, number]) => `${name} ${number}`)
      .join(", ")}.`,
    "",
    "| | plain | SOM |",
    "|---|---|---|",
    ...rows,
    "",
    ...[...failures].map(([contender, message]) => `- ${titleOf(contender)}: ${message}`),
  ]
    .join("\n")
    .trimEnd();
  console.log(table);
  if (!writes) return;
  const results = { date, commit: commitDescription(), machine: machineDescription(), ...about, figures };
  const text = JSON.stringify(results, undefined, 1);
  writeFileSync(new URL("../results/browser.json", import.meta.url), `${text}\n`);
  replaceSection(new URL("../README.md", import.meta.url), "browser", table);
}
