import { readFileSync, writeFileSync } from "node:fs";
import { floor, own } from "./contender.ts";
import type { Memory, Outcome } from "./rounds.ts";
import { type Spread, spreadOf } from "./statistics.ts";

/** What a run of the benchmark was made on. */
export interface Conditions {
  readonly date: string;
  readonly commit: string;
  readonly machine: string;
  readonly threads: number;
  readonly versions: Readonly<Record<string, string>>;
}

/** Figures of one contender. */
export interface ContenderFigures {
  readonly runtime: string;
  readonly regularized: boolean;
  /** Milliseconds per step. */
  readonly step?: Spread;
  /** Mean milliseconds per step of each round, which show how steady the machine was. */
  readonly rounds?: readonly number[];
  /** How many rounds were done again, because the machine was disturbed. */
  readonly repeated?: number;
  /** Seconds to the loss of the first step. */
  readonly ready?: number;
  readonly memory?: Memory;
  /** Why it was not measured, or not to the end. */
  readonly error?: string;
}

/** Ratios of one network, plain or with SOM; each is taken round by round. Below 1, sorth-onnx is better. */
export interface Ratios {
  readonly regularized: boolean;
  /** By runtime: our time of a step divided by that runtime's. */
  readonly time: Readonly<Record<string, Spread>>;
  /** By runtime: our peak memory during steps divided by that runtime's, of the whole process and above its baseline. */
  readonly memory: Readonly<Record<string, { readonly whole: number; readonly added: number }>>;
  /** By runtime: the time of a step with SOM divided by that of a plain one, minus 1. */
  readonly som?: Readonly<Record<string, Spread>>;
  /** What SOM adds to our step divided by its floor, and the floor in milliseconds. */
  readonly floor?: { readonly ratio: Spread; readonly milliseconds: number; readonly added: number };
}

/** The results for one network with one batch. */
export interface NetworkResult extends Conditions {
  readonly network: string;
  readonly batch: number;
  readonly title: string;
  readonly contenders: readonly ContenderFigures[];
  readonly ratios: readonly Ratios[];
}

const rounded = (value: number, digits = 3): number => Number(value.toFixed(digits));

/** Summarizes what was measured of the contenders of a network. */
export function resultOf(
  about: { readonly network: string; readonly batch: number; readonly title: string },
  conditions: Conditions,
  outcomes: readonly Outcome[],
): NetworkResult {
  const contenders = outcomes.map(figuresOf);
  return {
    ...about,
    ...conditions,
    contenders,
    ratios: [false, true].map((som) => ratiosOf(contenders, som)),
  };
}

function figuresOf({ contender, start, memory, rounds, repeated, error }: Outcome): ContenderFigures {
  const { runtime, regularized } = contender;
  const done = error === undefined;
  return {
    ...{ runtime, regularized },
    ...(done && rounds.length > 0 && { step: spreadOf(rounds), rounds: rounds.map((time) => rounded(time)) }),
    ...(done && repeated > 0 && { repeated }),
    ...(done && start && { ready: rounded(start.seconds, 2) }),
    ...(done && memory && { memory: mapped(memory) }),
    ...(error !== undefined && { error }),
  };
}

const mapped = ({ baseline, start, steps }: Memory): Memory => ({
  ...{ baseline: rounded(baseline, 1), start: rounded(start, 1), steps: rounded(steps, 1) },
});

/** The ratios of the contenders with, or without, SOM. */
export function ratiosOf(contenders: readonly ContenderFigures[], regularized: boolean): Ratios {
  const find = (runtime: string, som: boolean): ContenderFigures | undefined =>
    contenders.find((one) => one.runtime === runtime && one.regularized === som && one.rounds);
  const ours = find(own, regularized);
  const others = contenders.filter(
    (one) => one.regularized === regularized && one.runtime !== floor && one.rounds,
  );
  const against = others.filter(({ runtime }) => ours && runtime !== own);
  const least = find(floor, true);
  const plain = find(own, false);
  return {
    regularized,
    time: record(against, (one) => pairwise(ours, one, (a, b) => a / b)),
    memory: record(against, ({ memory }) => memoryRatio(ours?.memory, memory)),
    ...(regularized && {
      som: record(others, (one) => pairwise(one, find(one.runtime, false), (a, b) => a / b - 1)),
    }),
    ...(regularized &&
      ours?.rounds &&
      plain?.rounds &&
      least?.rounds && {
        floor: {
          ratio: spreadOf(
            least.rounds.map(
              (time, i) => ((ours.rounds?.[i] ?? Number.NaN) - (plain.rounds?.[i] ?? Number.NaN)) / time,
            ),
          ),
          milliseconds: rounded(least.step?.median ?? Number.NaN),
          added: spreadOf(ours.rounds.map((time, i) => time - (plain.rounds?.[i] ?? Number.NaN))).median,
        },
      }),
  };
}

function pairwise(
  a: ContenderFigures | undefined,
  b: ContenderFigures | undefined,
  ratio: (a: number, b: number) => number,
): Spread | undefined {
  if (!a?.rounds || !b?.rounds) return undefined;
  return spreadOf(a.rounds.map((time, i) => ratio(time, b.rounds?.[i] ?? Number.NaN)));
}

function memoryRatio(ours: Memory | undefined, theirs: Memory | undefined) {
  if (!ours || !theirs) return undefined;
  const added = (memory: Memory) => memory.steps - memory.baseline;
  return { whole: rounded(ours.steps / theirs.steps), added: rounded(added(ours) / added(theirs)) };
}

/** Values by runtime, without those that are unknown. */
function record<T>(
  contenders: readonly ContenderFigures[],
  value: (one: ContenderFigures) => T | undefined,
): Record<string, T> {
  return Object.fromEntries(
    contenders.flatMap((one) => {
      const found = value(one);
      return found === undefined ? [] : [[one.runtime, found]];
    }),
  );
}

/** Reads a results file with one row per network and batch; empty if there is none. */
export function readResults<Row>(file: URL): Row[] {
  try {
    return (JSON.parse(readFileSync(file, "utf8")) as { rows: Row[] }).rows;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Replaces the row with the same key, or adds it, in the order of `keys`; all other rows stay. Returns all rows. */
export function writeRow<Row>(file: URL, row: Row, order: (row: Row) => string): Row[] {
  const rows = [...readResults<Row>(file).filter((one) => order(one) !== order(row)), row];
  rows.sort((a, b) => order(a).localeCompare(order(b), "en", { numeric: true }));
  // Lists of numbers stay on one line.
  const text = JSON.stringify({ rows }, undefined, 1).replace(/\[[\d\s.,eE+-]+\]/g, (list) =>
    list.replace(/\s+/g, " "),
  );
  writeFileSync(file, `${text}\n`);
  return rows;
}
