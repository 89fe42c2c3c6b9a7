import { describe, expect, it } from "vitest";
import { distanceFromRight, History, type StepPoint, smoothed, thinned } from "../../web/history.ts";

const points = (from: number, to: number): StepPoint[] =>
  Array.from({ length: to - from + 1 }, (_, i) => ({
    step: from + i,
    loss: 1 / (from + i),
    penalty: from + i,
  }));
const test = (step: number, loss = step) => ({
  ...{ step, loss, accuracy: undefined, weightDistance: undefined, responseDistance: 3 },
});

describe("History", () => {
  it("keeps both runs apart, and the last test of a step", () => {
    const history = new History();
    history.addSteps("plain", points(1, 3));
    history.addTest("som", test(0));
    history.addTest("som", test(2, 5));
    history.addTest("som", test(2, 6));
    expect(history.steps("plain")).toEqual(points(1, 3));
    expect(history.steps("som")).toEqual([]);
    expect(history.tests("som")).toEqual([test(0), test(2, 6)]);
  });

  it("thins out long runs evenly, whatever came in which parts", () => {
    const [whole, parts] = [new History(), new History()];
    whole.addSteps("plain", points(1, 20_000));
    for (let at = 1; at <= 20_000; at += 7) parts.addSteps("plain", points(at, Math.min(at + 6, 20_000)));
    const kept = whole.steps("plain");
    expect(kept.length).toBeLessThanOrEqual(4096);
    expect(kept.length).toBeGreaterThan(2000);
    expect(new Set(kept.slice(1).map(({ step }, i) => step - (kept[i]?.step ?? 0)))).toEqual(new Set([8]));
    expect(parts.steps("plain")).toEqual(kept);
  });

  it("is the same after it was written and read, and goes on as it was", () => {
    const history = new History();
    history.addSteps("plain", points(1, 10_000));
    history.addTest("plain", test(10_000));
    const again = new History(JSON.parse(JSON.stringify(history.toJson())));
    for (const one of [history, again]) one.addSteps("plain", points(10_001, 30_000));
    expect(again.steps("plain")).toEqual(history.steps("plain"));
    expect(again.tests("plain")[0]?.loss).toBe(10_000);
  });

  it("forgets what a run that goes on will tell again", () => {
    const history = new History();
    history.addSteps("som", points(1, 10));
    history.addTest("som", test(4));
    history.addTest("som", test(8));
    history.truncate("som", 6);
    expect(history.steps("som").at(-1)?.step).toBe(6);
    expect(history.tests("som")).toEqual([test(4)]);
  });
});

describe("curves", () => {
  it("smoothed: a constant stays, noise shrinks, the first point is itself", () => {
    expect(smoothed([2, 2, 2], 5)).toEqual([2, 2, 2].map((v) => expect.closeTo(v, 12)));
    const noise = Array.from({ length: 400 }, (_, i) => (i % 2 === 0 ? 1 : -1));
    const result = smoothed(noise, 20);
    expect(result[0]).toBe(1);
    expect(Math.max(...result.slice(100).map(Math.abs))).toBeLessThan(0.05);
    expect(smoothed([1, 5], 0)).toEqual([1, 5].map((v) => expect.closeTo(v, 6)));
  });

  it("thinned: the ends stay, and so many points", () => {
    const all = Array.from({ length: 1000 }, (_, i) => i);
    const few = thinned(all, 16);
    expect([few.length, few[0], few.at(-1)]).toEqual([16, 0, 999]);
    expect(thinned([1, 2], 16)).toEqual([1, 2]);
  });

  it("distance from 90° is the root mean square over pairs", () => {
    const angles = [70, 85, 120, 95];
    const mean = angles.reduce((a, b) => a + b) / 4;
    const spread = Math.sqrt(angles.reduce((sum, angle) => sum + (angle - mean) ** 2, 0) / 4);
    const expected = Math.sqrt(angles.reduce((sum, angle) => sum + (angle - 90) ** 2, 0) / 4);
    expect(distanceFromRight({ mean, spread })).toBeCloseTo(expected, 12);
  });
});
