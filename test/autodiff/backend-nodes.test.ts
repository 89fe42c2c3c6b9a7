import { afterAll, describe, expect, test } from "vitest";
import { rules } from "../../src/autodiff/table.ts";
import { decodeModelProto } from "../../src/onnx/codec.ts";
import { backendDataMissing, backendModel, backendModels } from "../helpers/backend-models.ts";
import { known } from "./backend-exceptions.ts";
import { checkBackendCase, type Outcome, operatorsOf } from "./check-backend-case.ts";

const models = backendDataMissing ? [] : backendModels.filter((name) => name.startsWith("node/"));

/** Models by their operator; functions that ONNX wrote out in other operators by the name of the test. */
const groups = new Map<string, string[]>();
for (const model of models) {
  const [op, ...others] = operatorsOf(decodeModelProto(backendModel(model)));
  const written = /^node\/test_([a-z]+).*_expanded/.exec(model)?.[1];
  const group = written
    ? `written out: ${written}`
    : others.length > 0
      ? "several operators"
      : (op ?? "none");
  groups.set(group, [...(groups.get(group) ?? []), model]);
}

const outcomes = new Map<string, Outcome>();
const good = new Set<Outcome["kind"]>([
  ...(["passed in float64", "passed in float32", "zero"] as const),
  ...(["no floats", "not run by ONNX Runtime", "random"] as const),
]);

/** What a case was expected to be: one of the good outcomes, or the one that is listed for it. */
function expected(model: string, { kind, reason }: Outcome): boolean {
  const short = model.replace(/^node\/test_(.*)\.onnx$/, "$1");
  const listed = known.find(({ cases }) => cases.test(short));
  if (listed) return kind === listed.kind && reason.includes(listed.reason);
  return good.has(kind) || (kind === "refused" && isTableRefusal(reason));
}

/** `Op: reason`, the reason being the table's. */
function isTableRefusal(text: string): boolean {
  const [op = "", ...words] = text.split(": ");
  const entry = rules[op];
  return entry !== undefined && "refused" in entry && entry.refused === words.join(": ");
}

describe.skipIf(backendDataMissing)(`gradients of ONNX's backend nodes ${backendDataMissing || ""}`, () => {
  test.each([...groups])(
    "%s",
    async (_, cases) => {
      const surprises: string[] = [];
      for (const model of cases) {
        const outcome = await checkBackendCase(model, rules);
        outcomes.set(model, outcome);
        if (!expected(model, outcome)) surprises.push(`${model}: ${outcome.kind}: ${outcome.reason}`);
      }
      expect(surprises).toEqual([]);
    },
    120_000,
  );

  test("most of those with floats pass", () => {
    if (outcomes.size < models.length) return;
    const passed = [...outcomes.values()].filter(({ kind }) => kind.startsWith("passed"));
    expect(passed.length).toBeGreaterThan(1000);
  });

  afterAll(() => console.log(summary()));
});

/** Counts by outcome, and below each the reasons. */
function summary(): string {
  const kinds = new Map<string, Map<string, number>>();
  for (const { kind, reason } of outcomes.values()) {
    const reasons = kinds.get(kind) ?? new Map<string, number>();
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
    kinds.set(kind, reasons);
  }
  const lines = [...kinds].map(([kind, reasons]) => {
    const total = [...reasons.values()].reduce((sum, count) => sum + count, 0);
    const listed = [...reasons]
      .filter(([reason]) => reason)
      .map(([reason, count]) => `    ${count} ${reason}`);
    return [`  ${total} ${kind}`, ...listed].join("\n");
  });
  return [`${outcomes.size} backend nodes:`, ...lines.sort()].join("\n");
}
