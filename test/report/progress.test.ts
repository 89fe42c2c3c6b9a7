import { describe, expect, test } from "vitest";
import { clockText, epochText, ProgressLine, stepText } from "../../src/report/progress.ts";
import type { EpochEvent, StepEvent } from "../../src/runtime/events.ts";

const step = (overrides: Partial<StepEvent> = {}): StepEvent => ({
  ...{ event: "step", step: 320, epoch: 1, totalSteps: 1874, loss: 0.213_45, penalty: 0.26 },
  penalties: { som: 0.026 },
  ...{ penaltyShare: 0.1234, learningRate: 1e-3, seconds: 10, samplesPerSecond: 4210.4 },
  ...overrides,
});

const epoch: EpochEvent = {
  ...{ event: "epoch", step: 937, epoch: 1, loss: 0.2, penalty: 0.031_26, seconds: 31.4 },
  penalties: { som: 0.003_126 },
  ...{ learningRate: 1e-3, epochSeconds: 15.7, waiting: 0.02 },
  ...{ samplesPerSecond: 4000, validation: { loss: 0.0512, accuracy: 0.9862, samples: 6000 } },
};

/** A stream that keeps what is written, and a clock that is set by hand. */
function recorder(isTTY: boolean, columns = 120) {
  const written: string[] = [];
  const clock = { time: 0 };
  const line = new ProgressLine(
    { isTTY, columns, write: (text: string) => written.push(text) },
    { now: () => clock.time },
  );
  return { line, written, clock };
}

describe("clockText", () => {
  test.each([
    [0, "0:00"],
    [59.6, "1:00"],
    [65, "1:05"],
    [3599, "59:59"],
    [7380, "2:03:00"],
    [-1, "0:00"],
  ])("%d s is %s", (seconds, text) => {
    expect(clockText(seconds)).toBe(text);
  });
});

describe("stepText", () => {
  const whole = "epoch 1  step 320/1,874  loss 0.2135  penalty 12.3 %  4,210 samples/s  ETA 0:32  lr 0.001";

  test("says everything where there is room", () => {
    expect(stepText(step(), 32, 200)).toBe(whole);
    expect(stepText(step(), 32, whole.length)).toBe(whole);
  });

  test("leaves out the penalty of a run without, and an ETA that is not known", () => {
    expect(stepText(step({ penaltyShare: 0 }), undefined, 200)).toBe(
      "epoch 1  step 320/1,874  loss 0.2135  4,210 samples/s  lr 0.001",
    );
  });

  test("never exceeds the width", () => {
    for (let width = 0; width <= whole.length; width++) {
      const text = stepText(step(), 32, width);
      expect(text.length).toBeLessThanOrEqual(width);
      expect(whole.startsWith(text)).toBe(true);
    }
    expect(stepText(step(), 32, 30)).toBe("epoch 1  step 320/1,874");
  });

  test("a loss that is not finite is a dash", () => {
    expect(stepText(step({ loss: Number.NaN }), undefined, 200)).toContain("loss –");
  });
});

test("epochText", () => {
  expect(epochText(epoch)).toBe(
    "epoch 1  loss 0.2  penalty 0.03126  validation loss 0.0512  accuracy 98.62 %  lr 0.001  4,000 samples/s  15.7 s/epoch  0:31",
  );
  const { validation, ...plain } = epoch;
  expect(epochText({ ...plain, penalty: 0 })).toBe(
    "epoch 1  loss 0.2  lr 0.001  4,000 samples/s  15.7 s/epoch  0:31",
  );
  const more = { loss: 1, samples: 9, accuracy: 0.5, metrics: { accuracy: 0.5, f1: 0.43219 } };
  expect(epochText({ ...plain, validation: more, waiting: 0.124, epochSeconds: 1234.5 })).toMatch(
    /accuracy 50.00 % {2}f1 0.4322 {2}lr 0.001 {2}waited 12 % of the time for data {2}4,000 samples\/s {2}1,235 s\/epoch/,
  );
});

describe("ProgressLine on a terminal", () => {
  test("rewrites one line, at most ten times a second", () => {
    const { line, written, clock } = recorder(true);
    for (let i = 0; i < 50; i++) {
      clock.time = i * 10;
      line.show(step({ step: i + 1 }));
    }
    expect(written.length).toBe(5);
    for (const text of written) {
      expect(text.startsWith("\repoch 1  step ")).toBe(true);
      expect(text.endsWith("\x1b[K")).toBe(true);
      expect(text).not.toContain("\n");
    }
  });

  test("an epoch's line replaces it and stays", () => {
    const { line, written } = recorder(true);
    line.show(step());
    line.show(epoch);
    expect(written.slice(1)).toEqual(["\r\x1b[K", `${epochText(epoch)}\n`]);
    line.clear();
    expect(written.length).toBe(3);
  });

  test("keeps within the terminal", () => {
    const shown = (columns: number) => {
      const { line, written } = recorder(true, columns);
      line.show(step());
      return written[0]?.slice(1, -3);
    };
    const loss = "epoch 1  step 320/1,874  loss 0.2135";
    // A line as wide as the terminal would wrap on some.
    expect(shown(loss.length)).toBe("epoch 1  step 320/1,874");
    expect(shown(loss.length + 1)).toBe(loss);
  });

  test("the time left counts only steps of this run", () => {
    const { line, written, clock } = recorder(true);
    line.show(step({ step: 901, totalSteps: 1000, seconds: 1 }));
    clock.time = 1000;
    line.show(step({ step: 910, totalSteps: 1000, seconds: 10 }));
    expect(written[1]).toContain("ETA 1:30");
  });
});

describe("ProgressLine elsewhere", () => {
  test("writes one line an epoch and nothing else", () => {
    const { line, written } = recorder(false);
    for (let i = 1; i <= 5; i++) line.show(step({ step: i }));
    line.show(epoch);
    line.show({ ...epoch, event: "checkpoint", kind: "best" });
    line.show({ ...epoch, event: "end" });
    line.clear();
    expect(written).toEqual([`${epochText(epoch)}\n`]);
  });

  test("writes a line a minute while an epoch is long", () => {
    const { line, written, clock } = recorder(false);
    line.show(epoch);
    for (let second = 0; second <= 150; second++) {
      clock.time = second * 1000;
      line.show(step({ step: second + 1 }));
    }
    expect(written.length).toBe(3);
    expect(written[1]).toMatch(/^epoch 1 {2}step 61\/1,874 .* ETA .* lr 0.001 {2}15.7 s\/epoch\n$/);
  });

  test("writes nothing without a stream", () => {
    const line = new ProgressLine(undefined);
    line.show(step());
    line.show(epoch);
    line.clear();
  });
});
