import { describe, expect, test } from "vitest";
import { UsageError } from "../../src/errors.ts";
import { constant } from "../../src/schedules/constant.ts";
import { cosine } from "../../src/schedules/cosine.ts";
import { exponential } from "../../src/schedules/exponential.ts";
import { milestones } from "../../src/schedules/milestones.ts";
import { plateau } from "../../src/schedules/plateau.ts";
import type { Schedule, ScheduledRun } from "../../src/schedules/schedule.ts";
import { sripSchedule } from "../../src/schedules/srip.ts";
import { stepDecay } from "../../src/schedules/step-decay.ts";
import { parseSchedule, scheduleEntries, scheduleForm, scheduleNames } from "../../src/schedules/table.ts";
import { warmup } from "../../src/schedules/warmup.ts";

const factors = (schedule: Schedule, total: number, run?: ScheduledRun): number[] =>
  Array.from({ length: total }, (_, i) => Number(schedule(i + 1, total, run).toFixed(12)));

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
    ["sawtooth", `there is no schedule "sawtooth"; there are ${scheduleNames.join(", ")}`],
    ["toString", `there is no schedule "toString"; there are ${scheduleNames.join(", ")}`],
    ["srip:steps=1", 'the schedule srip has no option "steps" (in "srip:steps=1"); it has none'],
    ["plateau:mode=abs", "option mode of the schedule plateau must be min, max or auto, not abs"],
    [
      "plateau:best=max",
      'the schedule plateau has no option "best" (in "plateau:best=max"); it has monitor, mode, factor, patience, threshold, threshold-mode, cooldown, floor, warmup, warmup-start',
    ],
    [
      "one-cycle:max-momentum=0.9",
      "base-momentum and max-momentum of the schedule one-cycle have no effect without cycle-momentum=true: give it, or leave them out",
    ],
    ["cosine:", '"" in "cosine:" is no option: write key=value'],
    ["cosine:floor", '"floor" in "cosine:floor" is no option: write key=value'],
    ["cosine:floor=", "option floor of the schedule cosine must be a number from 0 to 1, not nothing"],
    ["cosine:floor=low", "option floor of the schedule cosine must be a number from 0 to 1, not low"],
    ["cosine:floor=0=1", "option floor of the schedule cosine must be a number from 0 to 1, not 0=1"],
    ["cosine:floor=2", "option floor of the schedule cosine must be a number from 0 to 1, not 2"],
    ["cosine:floor=0,floor=1", '"cosine:floor=0,floor=1" gives floor twice; give it once'],
    ["warmup", "the schedule warmup needs steps: write warmup:steps=…"],
    ...[
      ["warmup:steps=1.5", "warmup", "steps", 0, "1.5"],
      ["warmup:steps=2e", "warmup", "steps", 0, "2e"],
      ["cosine:warmup=-1ep", "cosine", "warmup", 0, "-1ep"],
      ["step:every=0,factor=1", "step", "every", 1, "0"],
      ["step:every=0ep,factor=1", "step", "every", 1, "0ep"],
      ["milestones:at=10/x", "milestones", "at", 1, "x"],
      ["milestones:at=", "milestones", "at", 1, "nothing"],
    ].map(
      ([text, name, option, least, value]) =>
        [
          String(text),
          `option ${option} of the schedule ${name} must be a whole number of ${least} or more (steps), or as in 2ep (epochs) or 10% (of the run), not ${value}`,
        ] as const,
    ),
    [
      "step:every=5",
      "the schedule step needs factor: write step:every=…,factor=…,warmup=0,warmup-start=1/warmup",
    ],
    [
      "milestones",
      "the schedule milestones needs at: write milestones:at=…,factor=0.1,warmup=0,warmup-start=1/warmup",
    ],
    [
      "linear:warmup-start=0",
      "option warmup-start of the schedule linear must be left out without a warmup, not 0",
    ],
    [
      "linear:warmup=3,warmup-start=2",
      "option warmup-start of the schedule linear must be a number from 0 to 1, not 2",
    ],
    ["one-cycle:anneal=cosine", "option anneal of the schedule one-cycle must be cos or linear, not cosine"],
    [
      "one-cycle:pct-start=1",
      "option pct-start of the schedule one-cycle must be a number above 0 and below 1, not 1",
    ],
    [
      "cosine-restarts:period=9,growth=1.5",
      "option growth of the schedule cosine-restarts must be a whole number of 1 or more, not 1.5",
    ],
    ["plateau:factor=1", "option factor of the schedule plateau must be a number above 0 and below 1, not 1"],
    ["step:every=5,factor=0", "option factor of the schedule step must be a number above 0, not 0"],
  ] as const) {
    test(`refused: ${text}`, () => {
      expect(() => parseSchedule(text)).toThrow(new UsageError(message));
      expect(() => parseSchedule(text)).toThrow(UsageError);
    });
  }
});

test("every entry of the table is written with all its options, and reads as itself with its defaults", () => {
  expect(scheduleEntries.map(scheduleForm)).toMatchInlineSnapshot(`
    [
      "constant:warmup=0,warmup-start=1/warmup",
      "warmup:steps=…",
      "linear:warmup=0,warmup-start=1/warmup,floor=0",
      "cosine:warmup=0,warmup-start=1/warmup,floor=0",
      "cosine-restarts:period=…,growth=1,floor=0,warmup=0,warmup-start=1/warmup",
      "one-cycle:pct-start=0.3,div-factor=25,final-div-factor=10000,anneal=cos,three-phase=false,cycle-momentum=false,base-momentum=0.85,max-momentum=0.95",
      "polynomial:power=1,floor=0,steps=100%,warmup=0,warmup-start=1/warmup",
      "inverse-sqrt:timescale=warmup,warmup=0,warmup-start=1/warmup",
      "stable-decay:decay=…,curve=linear,floor=0,warmup=0,warmup-start=1/warmup",
      "exponential:factor=…,every=1ep,curve=stairs,warmup=0,warmup-start=1/warmup",
      "step:every=…,factor=…,warmup=0,warmup-start=1/warmup",
      "milestones:at=…,factor=0.1,warmup=0,warmup-start=1/warmup",
      "plateau:monitor=loss,mode=auto,factor=0.1,patience=10,threshold=0.0001,threshold-mode=rel,cooldown=0,floor=0,warmup=0,warmup-start=1/warmup",
      "srip",
    ]
  `);
  const run = { stepsPerEpoch: 2, validation: [3, 3, 3].map((loss, i) => ({ step: 2 * i + 2, loss })) };
  for (const entry of scheduleEntries) {
    const given = Object.entries(entry.options).flatMap(([key, value]) =>
      value === undefined ? [`${key}=2`] : [],
    );
    const short = given.length === 0 ? entry.name : `${entry.name}:${given.join(",")}`;
    const full = scheduleForm(entry).replaceAll("…", "2");
    expect(factors(parseSchedule(full), 9, run)).toEqual(factors(parseSchedule(short), 9, run));
  }
});

test("durations in epochs and in shares of the run are those in steps", () => {
  const run = { stepsPerEpoch: 5 };
  for (const [text, steps] of [
    ["cosine:warmup=1ep", "cosine:warmup=5"],
    ["linear:warmup=25%", "linear:warmup=5"],
    ["step:every=0.5ep,factor=0.5", "step:every=3,factor=0.5"],
    ["milestones:at=1ep/50%/15", "milestones:at=5/10/15"],
    ["warmup:steps=.4ep", "warmup:steps=2"],
    ["polynomial:steps=1%", "polynomial:steps=1"],
  ] as const) {
    expect(factors(parseSchedule(text), 20, run), text).toEqual(factors(parseSchedule(steps), 20));
  }
  expect(factors(milestones({ at: ["1ep", 9] }), 20, run)).toEqual(
    factors(parseSchedule("milestones:at=5/9"), 20),
  );
  expect(() => parseSchedule("step:every=2ep,factor=0.1")(1, 10)).toThrow(
    /every of the schedule step counts epochs \(2ep\), and the steps of an epoch are not known here/,
  );
});

test("exponential falls smoothly if asked to", () => {
  const smooth = exponential({ factor: 0.25, every: 4, curve: "smooth" });
  expect([1, 3, 5, 9].map((step) => smooth(step, 9))).toEqual([1, 0.5, 0.25, 0.0625]);
});

test("schedules stay defined in runs of one step, and behind the end of the run", () => {
  const run = { stepsPerEpoch: 1, validation: [] };
  const texts = scheduleEntries.map((entry) => scheduleForm(entry).replaceAll("…", "1"));
  for (const text of texts) {
    for (const [step, total] of [
      [1, 1],
      [2, 2],
      [9, 2],
    ] as const) {
      const factor = parseSchedule(text)(step, total, run);
      expect(factor, `${text} at ${step} of ${total}`).toBeGreaterThanOrEqual(0);
      expect(factor, `${text} at ${step} of ${total}`).toBeLessThanOrEqual(1);
    }
  }
});

test("plateau needs held-out samples, looks at the epochs before a step only, and rises first with a warmup", () => {
  expect(() => plateau()(1, 10)).toThrow(/holds none out: give --validation/);
  expect(() => plateau()(1, 10, { stepsPerEpoch: 2 })).toThrow(UsageError);
  const validation = [1, 2, 3].map((loss, i) => ({ step: 2 * i + 2, loss }));
  const schedule = plateau({ patience: 0, factor: 0.5, warmup: 4 });
  const run = { stepsPerEpoch: 2, validation };
  expect(factors(schedule, 8, run)).toEqual([0.25, 0.5, 0.75, 1, 0.5, 0.5, 0.25, 0.25]);
});
