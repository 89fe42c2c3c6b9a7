import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { RunLog, validationAt } from "../../src/cli/run-log.ts";
import { temporaryFolder } from "./run-cli.ts";

let folder = temporaryFolder();
const run = () => join(folder.path, "run");
const lines = () =>
  readFileSync(join(run(), "run.jsonl"), "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as unknown);

beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

it("makes its folder with the first event, and keeps the order of events", () => {
  const log = new RunLog(run(), false);
  expect(existsSync(run())).toBe(false);
  expect(log.hasBegun).toBe(false);
  const events = [1, 2, 3].map((step) => ({ event: "step", step }));
  for (const event of events) log.add(event);
  log.add({ event: "end" });
  expect(lines()).toEqual([...events, { event: "end" }]);
  expect(log.hasBegun).toBe(true);
});

it("goes on at the end when resumed, and begins anew otherwise", () => {
  new RunLog(run(), false).add({ event: "epoch" });
  new RunLog(run(), true).add({ event: "end" });
  expect(lines()).toEqual([{ event: "epoch" }, { event: "end" }]);
  new RunLog(run(), false).add({ event: "epoch" });
  expect(lines()).toEqual([{ event: "epoch" }]);
});

it("goes on in a line of its own where a killed run left half of one", () => {
  new RunLog(run(), false).add({ event: "epoch" });
  appendFileSync(join(run(), "run.jsonl"), '{"event":"st');
  new RunLog(run(), true).add({ event: "end" });
  expect(readFileSync(join(run(), "run.jsonl"), "utf8")).toBe(
    '{"event":"epoch"}\n{"event":"st\n{"event":"end"}\n',
  );
});

it("finds the figures of an epoch beside half a line of a killed run", () => {
  const validation = { loss: 0.5, samples: 4 };
  const event = { event: "epoch", step: 2, validation };
  new RunLog(run(), false).add(event);
  appendFileSync(join(run(), "run.jsonl"), '{"event":"epoch","st\n');
  expect(validationAt(run(), 2)).toEqual(validation);
  expect(validationAt(run(), 3)).toBeUndefined();
});
