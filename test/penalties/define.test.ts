import { describe, expect, test } from "vitest";
import { UsageError } from "../../src/errors.ts";
import { definePenalty } from "../../src/penalties/define.ts";
import { som } from "../../src/penalties/som.ts";
import { penaltyNamed, penaltyNames } from "../../src/penalties/table.ts";

describe("options of a penalty", () => {
  test("default where left out", () => {
    expect(som().options).toMatchObject({ lambda1: 0, lambda2: 1, gamma: 10, reduction: "mean" });
    expect(som().options).toEqual(som.definition.defaults);
    const { gamma, reduction, ...rest } = som({ gamma: 5, reduction: "sum" }).options;
    expect([gamma, reduction]).toEqual([5, "sum"]);
    expect(som.definition.defaults).toMatchObject(rest);
    expect(som({ lambda1: 7 }).definition.name).toBe("som");
  });

  test("do not leak from one penalty into another", () => {
    som({ gamma: 3 });
    expect(som().options.gamma).toBe(10);
  });

  const wrong = som as (options: Record<string, unknown>) => unknown;
  for (const [options, message] of [
    [
      { lambda: 1 },
      'the penalty som has no option "lambda"; it has lambda1, lambda2, gamma, reduction, rows, directions, maxRows, center, scale, bias, angles, seed',
    ],
    [
      { toString: 1 },
      'the penalty som has no option "toString"; it has lambda1, lambda2, gamma, reduction, rows, directions, maxRows, center, scale, bias, angles, seed',
    ],
    [{ gamma: "steep" }, 'option gamma of the penalty som must be a number, not "steep"'],
    [{ gamma: Number.NaN }, "option gamma of the penalty som must be a finite number, not NaN"],
    [{ gamma: 0 }, "the penalty som: gamma must be above 0, not 0"],
    [{ lambda2: -1 }, "the penalty som: lambda1 and lambda2 must not be negative"],
    [{ reduction: "median" }, "option reduction of the penalty som must be mean or sum, not median"],
  ] as const) {
    test(`refused: ${message}`, () => {
      expect(() => wrong(options)).toThrow(new UsageError(message));
      expect(() => wrong(options)).toThrow(UsageError);
    });
  }
});

describe("a penalty by name", () => {
  test("reads texts as the types of its options", () => {
    const weights = [
      "so",
      "spectral-so",
      "dso",
      "biggan",
      "mc",
      "srip",
      "ocnn",
      "keras",
      "mhe",
      "mma",
      "lorth",
    ];
    expect(penaltyNames).toEqual(["som", ...weights, "decov", "barlow", "vicreg"]);
    expect(penaltyNamed("som", { gamma: "5", lambda1: "1e2", reduction: "sum" })).toEqual(
      som({ gamma: 5, lambda1: 100, reduction: "sum" }),
    );
  });

  test("is refused when nothing bears it, or a text is no number", () => {
    expect(() => penaltyNamed("sum")).toThrow(
      new UsageError(`there is no penalty "sum"; there is ${penaltyNames.join(", ")}`),
    );
    expect(() => penaltyNamed("som", { gamma: "" })).toThrow(
      'option gamma of the penalty som must be a number, not ""',
    );
    expect(() => penaltyNamed("som", { gama: "5" })).toThrow('has no option "gama"');
  });
});

test("a penalty of one's own", () => {
  const size = definePenalty({
    name: "size",
    summary: "the mean square of the responses",
    source: "an example",
    defaults: { scale: 1, centred: false },
    on: "responses",
    build: ({ g, response }, { scale }) => g.mul(g.reduceMean(g.square(response)), scale),
  });
  expect(size({ scale: 2, centred: true }).options).toEqual({ scale: 2, centred: true });
  expect(() => (size as (o: object) => unknown)({ centred: 1 })).toThrow("must be a boolean, not 1");
});
