import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Contender, floor, own } from "../../bench/contender.ts";
import { goalsTable } from "../../bench/goals.ts";
import { growthTable, type Point } from "../../bench/growth.ts";
import { type ReadyResult, readyTable } from "../../bench/ready.ts";
import { again, measure } from "../../bench/rounds.ts";
import { spreadOf } from "../../bench/statistics.ts";
import {
  type Conditions,
  type NetworkResult,
  readResults,
  resultOf,
  writeRow,
} from "../../bench/step-results.ts";
import { stepTable } from "../../bench/step-table.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sorth-bench-test-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const conditions: Conditions = {
  date: "2026-01-02",
  commit: "abc",
  machine: "m",
  threads: 2,
  versions: { node: "20" },
};

/** A contender whose steps take the given milliseconds, without waiting for them. */
function contender(
  runtime: string,
  regularized: boolean,
  milliseconds: number,
  more: Partial<Contender> = {},
): Contender {
  let peaks = 0;
  return {
    ...{ runtime, regularized, network: "mlp" },
    start: async (steps) => ({
      losses: runtime === floor ? [] : Array.from({ length: steps }, (_, i) => 2 - i / 10),
      seconds: 1,
    }),
    run: async () => milliseconds,
    // Before the model, after the start, after the rounds.
    peak: async () => [100, 200, 100 + milliseconds][peaks++] ?? Number.NaN,
    close: async () => {},
    ...more,
  };
}

const timing = { rounds: 2, milliseconds: 50, say: () => {} };
const about = { network: "mlp", batch: 64, title: "MLP" };

it("ratios are ours divided by theirs, round by round, and SOM is compared with its floor", async () => {
  const outcomes = await measure(
    [
      contender(own, false, 60),
      contender("PyTorch eager", false, 120),
      contender(own, true, 66),
      contender(floor, true, 4),
      contender("PyTorch eager", true, 240),
    ],
    timing,
  );
  const [plain, som] = resultOf(about, conditions, outcomes).ratios;
  expect(plain?.time["PyTorch eager"]).toEqual({ median: 0.5, quartiles: [0.5, 0.5] });
  expect(plain?.memory["PyTorch eager"]).toEqual({ whole: 0.727, added: 0.5 });
  expect(som?.som).toMatchObject({ [own]: { median: 0.1 }, "PyTorch eager": { median: 1 } });
  expect(som?.floor).toMatchObject({ ratio: { median: 1.5 }, milliseconds: 4, added: 6 });
});

it("a contender that fails or computes other losses is not timed, and the others are", async () => {
  const fails = (text: string) => ({ start: () => Promise.reject(new Error(text)) });
  const other = { start: async () => ({ losses: [2, 1.9, 1.7], seconds: 1 }) };
  let runs = 0;
  const breaks = {
    run: async () => {
      runs += 1;
      if (runs > 3) throw new Error("out of memory");
      return 60;
    },
  };
  const outcomes = await measure(
    [
      contender(own, false, 60),
      contender("torch.compile", false, 60, fails("no compiler")),
      contender("PyTorch eager", false, 60, other),
      contender("eager, fused AdamW", false, 60, breaks),
    ],
    timing,
  );
  const result = resultOf(about, conditions, outcomes);
  expect(result.contenders.map(({ step, error }) => step?.median ?? error)).toEqual([
    60,
    "no compiler",
    "its first losses 2.00000, 1.90000, 1.70000 differ from 2.00000, 1.90000, 1.80000 of sorth-onnx",
    "out of memory",
  ]);
  expect(result.ratios[0]?.time).toEqual({});
  expect(stepTable([result])).toContain("- MLP, torch.compile: no compiler");
});

it("rounds that took over 1.25 times the fastest are done again, and the faster time counts", async () => {
  const outcome = { contender: contender(own, false, 60), rounds: [125, 80, 100, 126], repeated: 0 };
  const times = [70, 150];
  await again(outcome, async () => times.shift() ?? Number.NaN);
  expect(outcome.rounds).toEqual([70, 80, 100, 126]);
  expect(outcome.repeated).toBe(2);
});

it("what uneven rounds do not tell about SOM's part of a step is a range, and no goal counts for it", () => {
  const row = (median: number, quartiles: readonly [number, number]) =>
    goalsTable([
      {
        ...{ ...about, ...conditions, contenders: [] },
        ratios: [
          {
            ...{ regularized: true, time: {}, memory: {} },
            floor: { ratio: { median, quartiles }, milliseconds: 1, added: 1 },
          },
        ],
      },
    ]);
  expect(row(0.1, [-0.6, 1.4])).toContain("| (-0.6 to 1.4) |");
  expect(row(0.1, [-0.6, 1.4])).toContain("0 of 0 measured goals");
  expect(row(0.1, [-0.1, 0.3])).toContain("| (-0.1 to 0.3) |");
  expect(row(1.1, [0.9, 1.2])).toContain("| 1.10 |");
  // Uneven rounds, but all above the goal.
  expect(row(4, [3, 5])).toContain("**4.00** (goal 1.3)");
});

it("a row replaces the one of the same network, and the others stay", () => {
  const file = pathToFileURL(join(folder, "step.json"));
  const row = (network: string, commit: string): NetworkResult => ({
    ...about,
    ...conditions,
    ...{ network, commit, contenders: [], ratios: [] },
  });
  const order = ({ network }: NetworkResult) => network;
  for (const [network, commit] of [
    ["b", "1"],
    ["a", "1"],
    ["b", "2"],
  ] as const) {
    writeRow(file, row(network, commit), order);
  }
  expect(readResults<NetworkResult>(file).map(({ network, commit }) => `${network} ${commit}`)).toEqual([
    "a 1",
    "b 2",
  ]);
});

it("quartiles lie between neighbours in proportion", () => {
  expect(spreadOf([4, 1, 2, 3])).toEqual({ median: 2.5, quartiles: [1.75, 3.25] });
});

it("the tables in bench/README.md and docs/performance.md are those of bench/results/step.json", () => {
  const rows = readResults<NetworkResult>(new URL("../../bench/results/step.json", import.meta.url));
  expect(readFileSync("bench/README.md", "utf8")).toContain(stepTable(rows));
  expect(readFileSync("docs/performance.md", "utf8")).toContain(goalsTable(rows));
});

it("the other tables in bench/README.md are those of their results", () => {
  const readme = readFileSync("bench/README.md", "utf8");
  const results = <T>(name: string) =>
    readResults<T>(new URL(`../../bench/results/${name}.json`, import.meta.url));
  expect(readme).toContain(growthTable(results<Point>("growth")));
  expect(readme).toContain(readyTable(results<ReadyResult>("ready")));

  const large = JSON.parse(readFileSync("bench/results/large-files.json", "utf8")) as {
    readonly results: Readonly<
      Record<string, Readonly<Record<string, { readonly seconds: number; readonly peak: number }>>>
    >;
  };
  const tenths = (seconds = Number.NaN) => (Math.round(10 * seconds) / 10).toFixed(1);
  const rows = Object.values(large.results).map(({ copy, ...commands }) => [
    tenths(copy?.seconds),
    ...Object.values(commands).map(({ seconds, peak }) => `${tenths(seconds)}, ${peak.toLocaleString("en")}`),
  ]);
  expect(rows.length).toBe(2);
  for (const cells of rows) expect(readme).toContain(`| ${cells.join(" | ")} |`);

  const { ratios, peakMebibytes } = JSON.parse(readFileSync("bench/results/inject.json", "utf8"));
  expect(readme).toContain(`\`inject\` takes ${ratios["inject / copy, median"].toFixed(2)} times the copy`);
  expect(readme).toContain(`with ${peakMebibytes.inject} MiB at the peak`);
});
