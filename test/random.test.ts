import { readdirSync, readFileSync } from "node:fs";
import { uniformFloat32 } from "pure-rand/distribution/uniformFloat32";
import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { describe, expect, test } from "vitest";
import { shuffledIndices } from "../src/data/batches.ts";
import { drawn } from "../src/penalties/draws.ts";
import { Random, randomStream } from "../src/random.ts";

const count = 4000;
const positions = 6;

/** Uniform numbers by how many seeds, steps, and so on there are: `[key][position]`. */
const tableOf = (numbers: (key: number) => ArrayLike<number>): number[][] =>
  Array.from({ length: count }, (_, key) => Array.from(numbers(key)));

const uniforms = (random: ReturnType<typeof randomStream>, of = uniformFloat64): number[] =>
  Array.from({ length: positions }, () => of(random));

/** How the keys of a stream can go on by one, and the numbers that come of it. */
const streams: Readonly<Record<string, number[][]>> = {
  "seeds, float64": tableOf((seed) => uniforms(randomStream("x", seed))),
  "seeds, float32 (Dropout)": tableOf((seed) => uniforms(randomStream("dropout", seed, 1), uniformFloat32)),
  "seeds, integers": tableOf((seed) => {
    const random = randomStream("x", seed);
    return Array.from({ length: positions }, () => (uniformInt(random, 0, 999) + 0.5) / 1000);
  }),
  "negative and large seeds": tableOf((i) => uniforms(randomStream("x", i % 2 ? -i : i * 2 ** 32))),
  steps: tableOf((step) => uniforms(randomStream("dropout", 0, step), uniformFloat32)),
  "samples of a seed": tableOf((sample) => uniforms(randomStream("points", 7, sample))),
  purposes: tableOf((i) => uniforms(randomStream(`purpose ${i}`, 0))),
  "draws of penalties by step": tableOf((round) =>
    drawn({ distribution: "uniform", shape: [1, positions], seed: 0, anew: "step" }, { run: 0, round }),
  ),
  "draws of penalties by seed of the run": tableOf((run) =>
    drawn({ distribution: "uniform", shape: [1, positions], seed: 0, anew: "step" }, { run, round: 1 }),
  ),
  "first places of an order": tableOf((seed) =>
    Array.from(shuffledIndices(seed, 0, 1000).subarray(0, positions), (index) => (index + 0.5) / 1000),
  ),
};

/** Pearson's correlation. */
function correlation(a: readonly number[], b: readonly number[]): number {
  const mean = (x: readonly number[]) => x.reduce((sum, value) => sum + value, 0) / x.length;
  const [ma, mb] = [mean(a), mean(b)];
  let [ab, aa, bb] = [0, 0, 0];
  a.forEach((value, i) => {
    const [x, y] = [value - ma, (b[i] ?? 0) - mb];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  });
  return ab / Math.sqrt(aa * bb);
}

/** Standard errors that chance exceeds once in some 10⁷ comparisons. */
const most = 5.3;

describe.each(Object.entries(streams))("%s", (_, table) => {
  const column = (position: number) => table.map((row) => row[position] ?? Number.NaN);

  test("every position is uniform", () => {
    for (let position = 0; position < positions; position++) {
      const numbers = column(position);
      const mean = numbers.reduce((sum, x) => sum + x, 0) / count;
      expect(Math.abs(mean - 0.5) * Math.sqrt(12 * count)).toBeLessThan(most);
      const bins = new Array<number>(20).fill(0);
      for (const x of numbers) bins[Math.floor(20 * x)] = (bins[Math.floor(20 * x)] ?? 0) + 1;
      const chiSquare = bins.reduce((sum, n) => sum + (n - count / 20) ** 2 / (count / 20), 0);
      // 19 degrees of freedom: above 70 once in 10⁷.
      expect(chiSquare).toBeLessThan(70);
    }
  });

  test("neighbouring keys have nothing to do with each other, at any positions", () => {
    for (const distance of [1, 2, 3, 8, 256]) {
      for (let a = 0; a < positions; a++) {
        for (let b = 0; b < positions; b++) {
          const r = correlation(column(a).slice(0, -distance), column(b).slice(distance));
          expect(Math.abs(r) * Math.sqrt(count - distance)).toBeLessThan(most);
        }
      }
    }
  });

  test("and neither have positions of one key", () => {
    for (let a = 0; a < positions; a++) {
      for (let b = 0; b < a; b++) {
        expect(Math.abs(correlation(column(a), column(b))) * Math.sqrt(count)).toBeLessThan(most);
      }
    }
  });
});

describe("a stream", () => {
  const first = (...[purpose, ...keys]: Parameters<typeof randomStream>) =>
    uniforms(randomStream(purpose, ...keys)).join();

  test("gives these numbers on every machine", () => {
    const random = randomStream("order", 1, 2);
    expect(Array.from({ length: 4 }, () => random.next() >>> 0)).toEqual([
      4252359392, 2291810567, 363469585, 1762433844,
    ]);
  });

  test("differs by purpose, by every key, and by their order and number", () => {
    const all = [
      first("a"),
      first("b"),
      first("a", 0),
      first("a", 0, 0),
      first("a", 1, 2),
      first("a", 2, 1),
      first("a", 2 ** 32),
      first("a", -1),
      first("ab", 1),
      first("a", 98, 1),
    ];
    expect(new Set(all).size).toBe(all.length);
  });

  test("normal numbers of neighbouring seeds are neither outliers nor alike", () => {
    const firsts = Array.from({ length: count }, (_, seed) => new Random("x", seed).normal());
    expect(Math.max(...firsts.map(Math.abs))).toBeLessThan(5.5);
    expect(Math.abs(firsts.reduce((sum, x) => sum + x, 0)) / Math.sqrt(count)).toBeLessThan(most);
  });
});

test("generators are seeded in src/random.ts alone", () => {
  const folders = ["src", "web", "experiments", "bench", "scripts"];
  const seeded = folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts") && !path.includes("node_modules"))
      .map((path) => `${folder}/${path}`)
      .filter((path) => /pure-rand\/generator|Math\.random/.test(readFileSync(path, "utf8"))),
  );
  expect(seeded).toEqual(["src/random.ts"]);
});
