import { expect, it } from "vitest";
import type { Probe } from "../../src/analysis/probe.ts";
import { affordableUnits, runLimits, unitSample } from "../../src/measure/unit-sample.ts";

const layers = (count: number, units: number, length: number, groups = 1) =>
  Array.from({ length: count }, () => ({ units, groups, length }));

const node = { float64: true } as Probe;
const web = { float64: false } as Probe;

it("a report of many large layers takes fewer units of each, and one that asks for all takes all", () => {
  expect(affordableUnits(layers(3, 4096, 4096), node)).toBe(4096);
  // 48 layers of 4,096 × 4,096, 3.2 GB: 2.0e12 multiplications for all pairs, 1.2e11 for those of 1,024 units.
  expect(affordableUnits(layers(48, 4096, 4096), node)).toBe(1024);
  expect(affordableUnits(layers(4, 4096, 4096), web)).toBe(1024);
  expect(affordableUnits(layers(48, 4096, 4096), node, { full: true })).toBe(Number.POSITIVE_INFINITY);
  // Small layers cost nothing, however many there are, and groups form no pairs with each other.
  expect(affordableUnits(layers(200, 512, 4608), node)).toBe(4096);
  expect(affordableUnits(layers(16, 4096, 4096, 16), node)).toBe(4096);
  expect(affordableUnits(layers(100_000, 4096, 4096), node)).toBe(256);
});

it("a measurement that is repeated during a run takes an eighth of that, and says what takes part", () => {
  const said: string[] = [];
  const onLimit = (what: string) => said.push(what);
  // Of 3.7e10 multiplications for 3 layers, 1.9e10 remain.
  expect(affordableUnits(layers(3, 4096, 684), node, { ...runLimits, onLimit })).toBe(2048);
  expect(affordableUnits(layers(3, 512, 4608), node, { ...runLimits, onLimit })).toBe(4096);
  expect(said).toEqual(["at most 2048 units of a layer"]);
});

it("the same places are drawn in each group", () => {
  expect(unitSample(4096, 1, 4096)).toBeUndefined();
  const places = unitSample(4096, 4, 1024);
  expect(places).toHaveLength(256);
  expect(new Set(places).size).toBe(256);
  expect(Math.max(...(places ?? []))).toBeLessThan(1024);
});
