import { expect, test } from "vitest";
import { UsageError } from "../../src/errors.ts";
import { Emit } from "../../src/graph/emit.ts";
import { Graph } from "../../src/graph/graph.ts";
import { type CrossEntropyOptions, crossEntropy } from "../../src/losses/cross-entropy.ts";
import type { Objective } from "../../src/losses/objective.ts";
import {
  binaryCrossEntropy,
  binaryFocal,
  distillation,
  huber,
  meanSquaredError,
  smoothL1,
} from "../../src/losses/public.ts";
import { objectiveSummaries } from "../../src/losses/summaries.ts";
import { objectiveNamed, objectiveNames } from "../../src/losses/table.ts";
import { parseTerm } from "../../src/losses/text.ts";

test("objectives by name", () => {
  expect(objectiveNames.slice(0, 4)).toEqual(["cross-entropy", "mse", "l1", "bce"]);
  expect(objectiveNames.map((name) => objectiveNamed(name).name)).toEqual(objectiveNames);
  expect(() => objectiveNamed("hinge")).toThrow(
    new UsageError(`there is no objective "hinge"; there are ${objectiveNames.join(", ")}`),
  );
});

test("every loss has a line for documents", () => {
  expect(Object.keys(objectiveSummaries)).toEqual(objectiveNames);
});

test("options that make no sense are refused", () => {
  const smoothings = [-0.1, 1.1, Number.NaN].map((labelSmoothing) => ({ labelSmoothing }));
  for (const options of [
    ...smoothings,
    { labels: "probability" },
    { labelPlaces: -1 },
    { classAxis: 2 },
    { labelSmooting: 0.1 },
    { classWeights: "1,x" },
    { classWeights: [1, -1] },
    { classWeights: [0, 0] },
    { focus: 0.5 },
    { focus: 2, labelSmoothing: 0.1 },
    { focus: 2, labels: "probabilities" },
  ])
    expect(() => crossEntropy(options as CrossEntropyOptions)).toThrow(UsageError);
  expect(() => objectiveNamed("mse", { labelSmoothing: 0.1 })).toThrow(
    new UsageError('the objective mse has no option "labelSmoothing"; it has none'),
  );
});

test.each([
  () => binaryCrossEntropy({ positiveWeight: 0 }),
  () => binaryFocal({ gamma: 0.5 }),
  () => binaryFocal({ alpha: 2 }),
  () => huber({ delta: 0 }),
  () => smoothL1({ beta: -1 }),
  () => distillation({ temperature: 0 }),
  () => distillation({ classAxis: 2 } as never),
])("%s is refused", (make) => {
  expect(make).toThrow(UsageError);
});

test.each([
  ["mse", meanSquaredError()],
  ["huber:delta=0.5", huber({ delta: 0.5 })],
  [
    "cross-entropy:label-smoothing=0.1,ignore-index=-100",
    crossEntropy({ labelSmoothing: 0.1, ignoreIndex: -100 }),
  ],
  ["cross-entropy:class-weights='1,5,2.5',focus=2", crossEntropy({ classWeights: [1, 5, 2.5], focus: 2 })],
  ["binary-focal:alpha=none", binaryFocal({ alpha: "none" })],
])("%s as text", (text, expected) => {
  const { name, options } = parseTerm(text).objective as Objective;
  expect({ name, options }).toEqual({ name: expected.name, options: expected.options });
});

test.each([
  ["huber:delt=1", {}, 'the objective huber has no option "delt"; it has delta'],
  ["huber:delta=x", {}, "delta of the objective huber must be a number above 0, not x"],
  [
    "cross-entropy:ignore-index=1",
    { ignoreIndex: 2 },
    '"cross-entropy:ignore-index=1" gives ignoreIndex already; leave out --ignore-index',
  ],
])("%s is refused", (text, more, message) => {
  expect(() => parseTerm(text, more)).toThrow(new UsageError(message));
});

test("weights for another number of classes are refused", () => {
  const g = new Emit(new Graph("loss", new Map([["", 18]])), { prefix: "" });
  const [x, y] = [g.numbers([0, 0, 0, 0], [2, 2]), g.constant("int32", [2], Int32Array.of(0, 1))];
  expect(() => crossEntropy({ classWeights: [1, 2, 3] }).build(g, x, y)).toThrow(
    "classWeights has 3 numbers, but the prediction has 2 classes: give one for each class",
  );
});

test("an option that is undefined has its default", () => {
  const options = { labelSmoothing: undefined, labels: undefined } as unknown as CrossEntropyOptions;
  expect(crossEntropy(options).options).toEqual(crossEntropy().options);
});
