import { describe, expect, test } from "vitest";
import { epochsAt, parseRunRecord, runRecord } from "../../src/report/run-record.ts";

const step = (number: number, more: object = {}) => ({
  ...{ event: "step", step: number, epoch: Math.ceil(number / 4), loss: 2, penalty: 3, penaltyShare: 0.25 },
  ...{ seconds: number, samplesPerSecond: 100, totalSteps: 8, ...more },
});
const epoch = (number: number, more: object = {}) => ({
  ...{
    event: "epoch",
    step: 4 * number,
    epoch: number,
    loss: 1.5,
    penalty: 2,
    samplesPerSecond: 90,
    ...more,
  },
});
const lines = (...events: unknown[]) => events.map((event) => `${JSON.stringify(event)}\n`).join("");

describe("runRecord", () => {
  test("steps: the loss without penalty, and the share of the only penalty", () => {
    const { steps, totalSteps } = runRecord([step(1), step(2, { penaltyShare: 0 })]);
    expect(totalSteps).toBe(8);
    expect(steps[0]).toEqual({
      ...{ step: 1, epoch: 1, loss: 2, dataLoss: 1.5, penaltyShare: 0.25, shares: new Map() },
    });
    expect(steps[1]?.dataLoss).toBe(2);
  });

  test("several penalties have the shares of what they add to the loss", () => {
    const [first] = runRecord([step(1, { penalties: { som: 0.375, so: 0.125 } })]).steps;
    expect([...(first?.shares ?? [])]).toEqual([
      ["som", 0.1875],
      ["so", 0.0625],
    ]);
    const [none] = runRecord([step(1, { penaltyShare: 0, penalties: { som: 0 } })]).steps;
    expect(none?.shares.get("som")).toBe(0);
  });

  test("epochs with and without validation and accuracy", () => {
    const validation = { loss: 0.7, accuracy: 0.9, samples: 10 };
    const { epochs, stepsPerEpoch } = runRecord([step(1), epoch(1), epoch(2, { validation, accuracy: 0.9 })]);
    expect(epochs.map(({ validationLoss, accuracy }) => [validationLoss, accuracy])).toEqual([
      [Number.NaN, Number.NaN],
      [0.7, 0.9],
    ]);
    expect(stepsPerEpoch).toBe(4);
  });

  test("angles, gradients and the end", () => {
    const figures = { mean: 90, spread: 5, min: 70, max: 110 };
    const record = runRecord([
      { event: "angles", step: 0, epoch: 0, layers: [{ name: "fc1", weights: figures }] },
      {
        ...{ event: "gradients", step: 0, epoch: 0, total: { loss: 2, penalty: 1, cosine: -0.1 } },
        parameters: [{ name: "w", loss: 4, penalty: 1 }],
      },
      { event: "checkpoint", step: 1, epoch: 1, kind: "last" },
      { event: "end", step: 8, epoch: 2, seconds: 9, samplesPerSecond: 80, stopped: "aborted" },
    ]);
    expect(record.angles[0]?.layers.get("fc1")).toEqual({ weights: { mean: 90, spread: 5 } });
    expect(record.gradients[0]).toMatchObject({
      ratio: 0.5,
      cosine: -0.1,
      parameters: new Map([["w", 0.25]]),
    });
    expect(record.end).toEqual({ step: 8, epoch: 2, seconds: 9, samplesPerSecond: 80, stopped: "aborted" });
  });

  test("a resumed run goes on; what was done beyond its checkpoint counts once", () => {
    const second = (number: number) => step(number, { seconds: number - 4, loss: 1 });
    const record = runRecord([
      ...[step(1), step(2), step(3), step(4), epoch(1), { event: "angles", step: 4, epoch: 1, layers: [] }],
      ...[step(5), step(6), { event: "end", step: 6, epoch: 2, seconds: 6, stopped: "aborted" }],
      ...[second(5), second(6), second(7)],
    ]);
    expect(record.steps.map((point) => [point.step, point.loss])).toEqual([
      ...[1, 2, 3, 4].map((number) => [number, 2]),
      ...[5, 6, 7].map((number) => [number, 1]),
    ]);
    expect([record.epochs.length, record.angles.length, record.resumed, record.end]).toEqual([
      1,
      1,
      [4],
      undefined,
    ]);
  });

  test("epochs done between two epochs", () => {
    const record = runRecord([step(1), epoch(1)]);
    expect(epochsAt(record, { step: 6, epoch: 2 })).toBe(1.5);
    expect(epochsAt(runRecord([step(1)]), { step: 1, epoch: 1 })).toBe(1);
  });
});

describe("parseRunRecord", () => {
  test("reads lines, and counts those that are damaged, cut off, or no events", () => {
    const text = `${lines(step(1))}\n{"event":"step","st\n[1]\n"text"\nnull\n{"event":5,"step":1}\n${lines(step(2), { event: "later", step: 2 })}{"event":"step","step":3,"lo`;
    const record = parseRunRecord(text);
    expect(record.steps.map((point) => point.step)).toEqual([1, 2]);
    expect(record.unreadable).toBe(6);
  });

  test("numbers that JSON has no word for are missing", () => {
    const { steps } = parseRunRecord(lines(step(1, { loss: Number.NaN })));
    expect(steps[0]?.loss).toBeNaN();
  });

  test("leaves out steps that no run can have", () => {
    const step = (number: number) =>
      JSON.stringify({ event: "step", epoch: 1, step: number, loss: 1, seconds: 1 });
    const record = parseRunRecord([5, -1, 1e300, 6].map(step).join("\n"));
    expect(record.steps.map((point) => point.step)).toEqual([5, 6]);
    expect(record.unreadable).toBe(2);
  });

  test("nothing at all", () => {
    expect(parseRunRecord("")).toMatchObject({ steps: [], epochs: [], unreadable: 0, end: undefined });
  });
});
