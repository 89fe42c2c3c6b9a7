import { expect, test } from "vitest";
import { UsageError } from "../../src/errors.ts";
import { type CrossEntropyOptions, crossEntropy } from "../../src/losses/cross-entropy.ts";
import { objectiveNamed, objectiveNames } from "../../src/losses/table.ts";

test("objectives by name", () => {
  expect(objectiveNames).toEqual(["cross-entropy", "mse", "l1", "bce"]);
  expect(objectiveNames.map((name) => objectiveNamed(name).name)).toEqual(objectiveNames);
  expect(() => objectiveNamed("hinge")).toThrow(
    new UsageError('there is no objective "hinge"; there are cross-entropy, mse, l1, bce'),
  );
});

test("options that make no sense are refused", () => {
  const smoothings = [-0.1, 1.1, Number.NaN].map((labelSmoothing) => ({ labelSmoothing }));
  for (const options of [
    ...smoothings,
    { labels: "probability" },
    { labelPlaces: -1 },
    { classAxis: 2 },
    { labelSmooting: 0.1 },
  ])
    expect(() => crossEntropy(options as CrossEntropyOptions)).toThrow(UsageError);
  expect(() => objectiveNamed("mse", { labelSmoothing: 0.1 })).toThrow(
    new UsageError('the objective mse has no option "labelSmoothing"; it has none'),
  );
});

test("an option that is undefined has its default", () => {
  const options = { labelSmoothing: undefined, labels: undefined } as unknown as CrossEntropyOptions;
  expect(crossEntropy(options).options).toEqual(crossEntropy().options);
});
