import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { allPenalties } from "../../experiments/all-penalties.ts";
import { quickSize } from "../../experiments/experiment.ts";
import { experiments } from "../../experiments/experiments.ts";
import { differences, figuresOf, readResults, sectionOf } from "../../experiments/files.ts";
import { lsh } from "../../experiments/lsh.ts";
import { methods } from "../../experiments/methods.ts";
import { Pool } from "../../experiments/pool.ts";
import { differs, estimate, pairedDifference } from "../../experiments/statistics.ts";
import type { TrainingRun } from "../../experiments/training-run.ts";

const folder = new URL("../../experiments/", import.meta.url);
const readme = readFileSync(new URL("README.md", folder), "utf8");

/** Two epochs on 128 digits. */
const run: TrainingRun = {
  ...{ network: "mlp", seed: 3, validation: 64, test: 64 },
  stages: [
    { data: "mnist", samples: 128, epochs: 2, learningRate: 1e-3, penalties: ["som:rows=random,weight=0.1"] },
  ],
};

describe("the committed experiments", () => {
  it.each(experiments.map((experiment) => [experiment.name, experiment] as const))(
    "%s: tables and pictures are those of its results",
    (name, experiment) => {
      const results = readResults(experiment);
      const section = readme.split(`<!-- ${name} -->`)[1]?.split(`<!-- /${name} -->`)[0];
      expect(section?.trim()).toBe(sectionOf(experiment, results).trim());
      for (const { name, svg } of figuresOf(experiment, results)) {
        expect(readFileSync(new URL(`figures/${name}.svg`, folder), "utf8")).toBe(svg);
      }
    },
  );

  it("tested every penalty of this package", () => {
    const results = readResults(allPenalties) as Awaited<ReturnType<typeof allPenalties.run>>;
    for (const { variants, choices } of Object.values(results)) {
      expect(variants.map(({ name }) => name)).toEqual(["plain", ...methods.map(({ name }) => name)]);
      expect(new Set(Object.values(choices).map(({ candidates }) => candidates.length)).size).toBe(1);
    }
  });

  it("found the error of the signs where theory puts it", () => {
    const { rows } = readResults(lsh) as Awaited<ReturnType<typeof lsh.run>>;
    for (const { sign, predicted } of rows) expect(Math.abs(sign / predicted - 1)).toBeLessThan(0.15);
  });
});

describe("a run", () => {
  it("gives the same bits whatever process does it, and other ones with another seed", async () => {
    const pool = new Pool(() => {}, 2);
    try {
      const [first, second, other] = await pool.all([run, run, { ...run, seed: 4 }]);
      expect(second).toEqual(first);
      expect(other?.trainingLoss).not.toBe(first?.trainingLoss);
      expect(first?.layers.map(({ name }) => name)).toEqual(["fc1", "fc2", "logits"]);
    } finally {
      pool.close();
    }
  });

  it("that breaks down says when; one that cannot be done says why", async () => {
    const pool = new Pool(() => {}, 1);
    try {
      const [stage] = run.stages;
      const broken = { ...run, stages: [{ ...stage, optimizer: "sgd", learningRate: 1e30 }] } as TrainingRun;
      expect((await pool.train(broken)).divergedAt).toBeGreaterThan(0);
      const unknown = { ...run, stages: [{ ...stage, penalties: ["none-such"] }] } as TrainingRun;
      await expect(pool.train(unknown)).rejects.toThrow('there is no penalty "none-such"');
    } finally {
      pool.close();
    }
  });

  it("shows its tables at any size", async () => {
    const results = await lsh.run(undefined as never, quickSize);
    expect(lsh.tables(results)).toContain("| 64 |");
  });
});

describe("statistics", () => {
  it("are those of Student's t distribution", () => {
    // R: t.test(c(1, 2, 3, 4, 5)) gives 1.036757 … 4.963243.
    const { mean, margin } = estimate([1, 2, 3, 4, 5]);
    expect(mean).toBe(3);
    expect(margin).toBeCloseTo(1.963243, 3);
    expect(estimate([2]).margin).toBeNaN();
  });

  it("compare seed by seed", () => {
    const gain = pairedDifference([10, 20, 30], [9, 19.1, 28.9]);
    expect(gain.mean).toBeCloseTo(1, 10);
    expect(differs(gain)).toBe(true);
    expect(differs(pairedDifference([1, 2, 3], [3, 2, 1]))).toBe(false);
  });

  it("name the numbers that differ from the committed ones", () => {
    expect(differences({ a: [1, { b: 2 }] }, { a: [1, { b: 2 }] })).toEqual([]);
    expect(differences({ a: [1, { b: 2 }] }, { a: [1, { b: 3 }], c: 1 })).toEqual([
      "a[1].b: 3, not 2",
      "c: 1, not undefined",
    ]);
    expect(differences({ margin: null }, { margin: Number.NaN })).toEqual([]);
  });
});

describe("the texts", () => {
  it("link only to files that exist", () => {
    for (const [document, base] of [
      [readme, folder],
      [readFileSync("docs/regularizers.md", "utf8"), new URL("../../docs/", import.meta.url)],
    ] as const) {
      const links = [...document.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path]) => path ?? "");
      expect(links.length).toBeGreaterThan(0);
      expect(links.filter((path) => !existsSync(new URL(path, base)))).toEqual([]);
    }
  });
});
