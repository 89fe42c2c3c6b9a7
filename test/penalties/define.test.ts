import { describe, expect, test } from "vitest";
import { UsageError } from "../../src/errors.ts";
import { definePenalty } from "../../src/penalties/define.ts";
import { som } from "../../src/penalties/som.ts";
import { penaltyNamed, penaltyNames } from "../../src/penalties/table.ts";

describe("options of a penalty", () => {
  test("default where left out", () => {
    expect(som().options).toEqual({ lambda1: 100, lambda2: 1, gamma: 10, reduction: "mean" });
    expect(som({ gamma: 5, reduction: "sum" }).options).toEqual({
      lambda1: 100,
      lambda2: 1,
      gamma: 5,
      reduction: "sum",
    });
    expect(som({ lambda1: 7 }).definition.name).toBe("som");
  });

  test("do not leak from one penalty into another", () => {
    som({ gamma: 3 });
    expect(som().options.gamma).toBe(10);
  });

  const wrong = som as (options: Record<string, unknown>) => unknown;
  for (const [options, message] of [
    [{ lambda: 1 }, 'the penalty som has no option "lambda"; it has lambda1, lambda2, gamma, reduction'],
    [{ toString: 1 }, 'the penalty som has no option "toString"; it has lambda1, lambda2, gamma, reduction'],
    [{ gamma: "steep" }, 'option gamma of the penalty som must be a number, not "steep"'],
    [{ gamma: Number.NaN }, "option gamma of the penalty som must be a finite number, not NaN"],
    [{ gamma: 0 }, "the penalty som: gamma must be above 0, not 0"],
    [{ lambda2: -1 }, "the penalty som: lambda1 and lambda2 must not be negative"],
    [{ reduction: "median" }, "the penalty som: reduction must be mean or sum, not median"],
  ] as const) {
    test(`refused: ${message}`, () => {
      expect(() => wrong(options)).toThrow(new UsageError(message));
      expect(() => wrong(options)).toThrow(UsageError);
    });
  }
});

describe("a penalty by name", () => {
  test("reads texts as the types of its options", () => {
    expect(penaltyNames).toEqual(["som"]);
    expect(penaltyNamed("som", { gamma: "5", lambda1: "1e2", reduction: "sum" })).toEqual(
      som({ gamma: 5, lambda1: 100, reduction: "sum" }),
    );
  });

  test("is refused when nothing bears it, or a text is no number", () => {
    expect(() => penaltyNamed("sum")).toThrow(new UsageError('there is no penalty "sum"; there is som'));
    expect(() => penaltyNamed("som", { gamma: "" })).toThrow(
      'option gamma of the penalty som must be a number, not ""',
    );
    expect(() => penaltyNamed("som", { gama: "5" })).toThrow('has no option "gama"');
  });
});

test("a penalty of one's own", () => {
  const weightDecay = definePenalty({
    name: "size",
    summary: "the mean square of the responses",
    source: "an example",
    defaults: { scale: 1, centred: false },
    applies: () => true,
    build: (_site, response, g, { scale }) => ({ value: g.mul(g.reduceMean(g.square(response)), scale) }),
    reference: () => ({ value: 0, gradient: [] }),
  });
  expect(weightDecay({ scale: 2 }).options).toEqual({ scale: 2, centred: false });
  expect(() => (weightDecay as (o: object) => unknown)({ centred: 1 })).toThrow("must be a boolean, not 1");
});
