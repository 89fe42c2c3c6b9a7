import { describe, expect, it } from "vitest";
import { rises, trendOf } from "../../scripts/soak/trend.ts";
import { uniform } from "../helpers/lcg.ts";

const noise = uniform("soak", 60);
/** Sixty readings of 10,000 steps: what is kept per step, a pool that fills in the first 2,000, noise of a collector. */
const samples = (slope: number, rough = 1) =>
  [...noise].map((chance, i) => {
    const at = ((i + 1) * 10_000) / 60;
    return { at, held: 100 + Math.min(at / 2000, 1) * 50 + slope * at + rough * chance };
  });

describe("the slope of a soak", () => {
  it("is that of a straight line, without the warm-up, with an interval of 95 %", () => {
    // numpy.polyfit of the points 15 to 60; 2.0154, the quantile for 44 degrees of freedom, times its standard error.
    const zigzag = Array.from({ length: 60 }, (_, x) => ({
      at: x + 1,
      held: 3 + 2 * (x + 1) + ((x + 1) % 2 ? -1 : 1),
    }));
    const { slope, uncertainty, samples: used, first } = trendOf(zigzag);
    expect([used, first]).toEqual([46, 32]);
    expect(slope).toBeCloseTo(2.002836879, 8);
    expect(uncertainty).toBeCloseTo((0.0222411348 / 1.96) * 2.0154, 4);
    const exact = trendOf(samples(0.003, 0));
    expect(exact.slope).toBeCloseTo(0.003, 10);
    expect(exact.uncertainty).toBeLessThan(1e-9);
    const rough = trendOf(samples(0.003));
    expect(Math.abs(rough.slope - 0.003)).toBeLessThan(rough.uncertainty);
    expect(rough.uncertainty).toBeLessThan(2e-4);
  });

  it("rises above its bound only beyond chance", () => {
    expect(rises(trendOf(samples(0.003)), 0.002)).toBe(true);
    expect(rises(trendOf(samples(0)), 0.002)).toBe(false);
    expect(rises(trendOf(samples(0.001)), 0.002)).toBe(false);
    expect(rises(trendOf(samples(0.003, 1000)), 0.002)).toBe(false);
  });

  it("needs five readings after the warm-up", () => {
    expect(() => trendOf(samples(0).slice(0, 5))).toThrow(RangeError);
  });
});
