import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { nameAndOptions, withoutHyphens } from "../../src/name-and-options.ts";
import { maxDifference } from "../helpers/numbers.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { missingPython, python } from "./python-runs.ts";

/** As test/oracles/schedules.test.ts reads it. */
const { steps, stepsPerEpoch, factors } = JSON.parse(
  readFileSync("test/fixtures/schedules.json", "utf8"),
) as {
  readonly steps: number;
  readonly stepsPerEpoch: number;
  readonly factors: Readonly<Record<string, readonly number[]>>;
};

const program = `
import json, sys
sys.path.insert(0, "python")
from sorth_distributed.schedules import Run, schedule_of
given = json.load(sys.stdin)
run = Run(given["steps"], given["stepsPerEpoch"], None, {})
print(json.dumps([[schedule_of(one)(step + 1, run) for step in range(given["steps"])] for one in given["schedules"]]))
`;

skipWithout(missingPython);

it("workers follow every schedule that PyTorch and transformers have, over a whole run", () => {
  const schedules = Object.keys(factors).map((text) => {
    const { name, options } = nameAndOptions(text);
    const number = (value: string) => (Number.isFinite(Number(value)) ? Number(value) : value);
    return {
      name,
      options: Object.fromEntries([...options].map(([key, value]) => [withoutHyphens(key), number(value)])),
    };
  });
  const input = JSON.stringify({ steps, stepsPerEpoch, schedules });
  const { stdout, stderr } = spawnSync(python, ["-c", program], { input, encoding: "utf8" });
  expect(stderr).toBe("");
  for (const [i, found] of (JSON.parse(stdout) as number[][]).entries()) {
    const [text = "", expected = []] = Object.entries(factors)[i] ?? [];
    expect(maxDifference(found, expected), text).toBeLessThan(1e-12);
  }
});
