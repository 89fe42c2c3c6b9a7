import { describe, expect, test } from "vitest";
import { UsageError } from "../../src/errors.ts";
import { constant } from "../../src/schedules/constant.ts";
import { cosine } from "../../src/schedules/cosine.ts";
import type { Schedule } from "../../src/schedules/schedule.ts";
import { sripSchedule } from "../../src/schedules/srip.ts";
import { stepDecay } from "../../src/schedules/step-decay.ts";
import { parseSchedule, scheduleEntries, scheduleForm } from "../../src/schedules/table.ts";
import { warmup } from "../../src/schedules/warmup.ts";

const factors = (schedule: Schedule, total: number): number[] =>
  Array.from({ length: total }, (_, i) => Number(schedule(i + 1, total).toFixed(12)));

describe("schedules", () => {
  test("constant", () => expect(factors(constant(), 3)).toEqual([1, 1, 1]));

  test("warmup rises to 1 and stays there", () => {
    expect(factors(warmup(4), 6)).toEqual([0.25, 0.5, 0.75, 1, 1, 1]);
    expect(factors(warmup(0), 2)).toEqual([1, 1]);
  });

  test("cosine falls from 1 towards its floor", () => {
    const [half, low] = [Math.SQRT1_2, 0.5];
    expect(factors(cosine(), 4)).toEqual(
      [1, (1 + half) / 2, 0.5, (1 - half) / 2].map((value) => Number(value.toFixed(12))),
    );
    expect(factors(cosine({ floor: low }), 2)).toEqual([1, 0.75]);
  });

  test("cosine after a warmup", () => {
    expect(factors(cosine({ warmup: 2, floor: 0.5 }), 4)).toEqual([0.5, 1, 1, 0.75]);
  });

  test("cosine stays defined when the run is over, or no longer than the warmup", () => {
    expect(cosine({ floor: 0.25 })(11, 10)).toBe(0.25);
    expect(cosine({ floor: 0.25 })(500, 10)).toBe(0.25);
    expect(factors(cosine({ warmup: 4 }), 2)).toEqual([0.25, 0.5]);
    expect(cosine({ warmup: 2 })(3, 2)).toBe(1);
  });

  test("step decay", () => {
    expect(factors(stepDecay({ every: 2, factor: 0.5 }), 6)).toEqual([1, 1, 0.5, 0.5, 0.25, 0.25]);
  });
});

test("the schedule of SRIP, in 200 epochs and in shorter runs", () => {
  const changes = (total: number) => {
    const all = factors(sripSchedule(), total);
    return all.flatMap((factor, i) => (factor === all[i - 1] ? [] : [[i + 1, factor]]));
  };
  expect(changes(200)).toEqual([
    [1, 1],
    [21, 1e-3],
    [51, 1e-4],
    [71, 1e-6],
    [121, 0],
  ]);
  expect(changes(20)).toEqual([
    [1, 1],
    [3, 1e-3],
    [6, 1e-4],
    [8, 1e-6],
    [13, 0],
  ]);
});

describe("a schedule as text", () => {
  for (const [text, schedule] of [
    ["constant", constant()],
    ["warmup:steps=3", warmup(3)],
    ["cosine", cosine()],
    ["cosine:warmup=2,floor=0.1", cosine({ warmup: 2, floor: 0.1 })],
    ["cosine:floor=1e-1", cosine({ floor: 0.1 })],
    ["step:every=2,factor=0.1", stepDecay({ every: 2, factor: 0.1 })],
    ["srip", sripSchedule()],
  ] as const) {
    test(text, () => expect(factors(parseSchedule(text), 8)).toEqual(factors(schedule, 8)));
  }

  for (const [text, message] of [
    ["linear", 'there is no schedule "linear"; there are constant, warmup, cosine, step, srip'],
    ["toString", 'there is no schedule "toString"; there are constant, warmup, cosine, step, srip'],
    ["constant:steps=1", 'the schedule constant has no option "steps" (in "constant:steps=1"); it has none'],
    ["cosine:", '"" in "cosine:" is no option: write key=value'],
    ["cosine:floor", '"floor" in "cosine:floor" is no option: write key=value'],
    ["cosine:floor=", "option floor of the schedule cosine must be a number, not nothing"],
    ["cosine:floor=low", "option floor of the schedule cosine must be a number, not low"],
    ["cosine:floor=0=1", "option floor of the schedule cosine must be a number, not 0=1"],
    ["cosine:floor=2", "option floor of the schedule cosine must be a number from 0 to 1, not 2"],
    ["cosine:floor=0,floor=1", '"cosine:floor=0,floor=1" gives floor twice; give it once'],
    ["warmup", "the schedule warmup needs steps: write warmup:steps=…"],
    ["warmup:steps=1.5", "option steps of the schedule warmup must be a whole number of 0 or more, not 1.5"],
    ["step:every=5", "the schedule step needs factor: write step:every=…,factor=…"],
    ["step:every=0,factor=1", "option every of the schedule step must be a whole number of 1 or more, not 0"],
    ["step:every=5,factor=0", "option factor of the schedule step must be a number above 0, not 0"],
  ] as const) {
    test(`refused: ${text}`, () => {
      expect(() => parseSchedule(text)).toThrow(new UsageError(message));
      expect(() => parseSchedule(text)).toThrow(UsageError);
    });
  }
});

test("every entry of the table is written with all its options, and reads as itself with its defaults", () => {
  expect(scheduleEntries.map(scheduleForm)).toEqual([
    ...["constant", "warmup:steps=…", "cosine:warmup=0,floor=0", "step:every=…,factor=…", "srip"],
  ]);
  for (const entry of scheduleEntries) {
    const given = Object.entries(entry.options).flatMap(([key, value]) =>
      value === undefined ? [`${key}=2`] : [],
    );
    const short = given.length === 0 ? entry.name : `${entry.name}:${given.join(",")}`;
    const full = scheduleForm(entry).replaceAll("…", "2");
    expect(factors(parseSchedule(full), 9)).toEqual(factors(parseSchedule(short), 9));
  }
});
