import { describe, expect, test } from "vitest";
import { UsageError } from "../../src/errors.ts";
import type { Optimizer } from "../../src/optimizers/optimizer.ts";
import {
  accumulate,
  adam,
  adamw,
  averageWeights,
  chain,
  clipByGlobalNorm,
  optimizerNamed,
  optimizerNames,
  sgd,
} from "../../src/optimizers/public.ts";
import { optimizerFromStored, storedOptimizer } from "../../src/optimizers/stored.ts";
import { optimizerText } from "../../src/optimizers/text.ts";

describe("options of an optimizer", () => {
  test("default to PyTorch's", () => {
    const moments = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    expect(sgd().options).toEqual({ momentum: 0, dampening: 0, nesterov: false, weightDecay: 0 });
    expect(adam().options).toEqual({ ...moments, weightDecay: 0 });
    expect(adamw().options).toEqual({ ...moments, weightDecay: 0.01 });
    const parameter = { name: "p", type: "float" as const, shape: [1] };
    const slots = [sgd(), sgd({ momentum: 0.9 }), adam()].map((one) =>
      one.init([parameter]).map(({ name }) => name),
    );
    expect(slots).toEqual([[], ["m"], ["m", "v"]]);
  });

  test("go with the optimizer's name", () => {
    expect(optimizerNamed("sgd", { momentum: 0.9, nesterov: true }).options).toEqual(
      sgd({ momentum: 0.9, nesterov: true }).options,
    );
    expect(optimizerNames.map((name) => optimizerNamed(name).name)).toEqual(optimizerNames);
  });

  for (const [name, options, message] of [
    ["shampoo", {}, `there is no optimizer "shampoo"; there are ${optimizerNames.join(", ")}`],
    ["constructor", {}, `there is no optimizer "constructor"; there are ${optimizerNames.join(", ")}`],
    [
      "adam",
      { beta: 1 },
      'the optimizer adam has no option "beta"; it has beta1, beta2, epsilon, weightDecay',
    ],
    [
      "adam",
      { beta1: 1 },
      "option beta1 of the optimizer adam must be a number of at least 0 and below 1, not 1",
    ],
    [
      "adam",
      { beta2: -0.1 },
      "option beta2 of the optimizer adam must be a number of at least 0 and below 1, not -0.1",
    ],
    [
      "adamw",
      { epsilon: 0 },
      "option epsilon of the optimizer adamw must be a number above 0 (1e-30 or more), not 0",
    ],
    [
      "adamw",
      { weightDecay: Number.NaN },
      "option weightDecay of the optimizer adamw must be a number of 0 or more, not NaN",
    ],
    [
      "adamw",
      { weightDecay: -1 },
      "option weightDecay of the optimizer adamw must be a number of 0 or more, not -1",
    ],
    ["sgd", { momentum: true }, "option momentum of the optimizer sgd must be a number, not true"],
    ["sgd", { dampening: 2 }, "option dampening of the optimizer sgd must be a number from 0 to 1, not 2"],
    ["sgd", { nesterov: true }, "the optimizer sgd: nesterov needs a momentum above 0 and no dampening"],
  ] as const) {
    test(`refused: ${message}`, () => {
      expect(() => optimizerNamed(name, options)).toThrow(new UsageError(message));
      expect(() => optimizerNamed(name, options)).toThrow(UsageError);
    });
  }
});

test("an optimizer of this package with an update of the caller's own is refused: nobody would call it", () => {
  const mixed = { ...sgd(), update: () => ({ parameter: undefined, slots: [] }) } as unknown as Optimizer;
  expect(() => chain(mixed)).toThrow(/the optimizer sgd is a gradient transformation and has no "update"/);
});

test("the text of an optimizer names what it wraps", () => {
  expect(optimizerText(accumulate(4, adamw()))).toBe("accumulate:batches=4 (adamw)");
  expect(optimizerText(chain(accumulate(2, clipByGlobalNorm(0.5), sgd()), averageWeights()))).toBe(
    "accumulate:batches=2 (clip-by-global-norm:max-norm=0.5, then sgd), then average-weights",
  );
});

test("a mean of means has a slot of its own for each", () => {
  const slots = accumulate(2, accumulate(3, sgd())).init([{ name: "p", type: "float", shape: [1] }]);
  expect(slots.map(({ name }) => name)).toEqual(["accumulated", "accumulated.2"]);
});

test("an optimizer is made again from what a checkpoint keeps, or refused", () => {
  const whole = chain(accumulate(2, clipByGlobalNorm(0.5), sgd({ momentum: 0.9 })), averageWeights(0.5));
  expect(storedOptimizer(optimizerFromStored(storedOptimizer(whole)))).toEqual(storedOptimizer(whole));
  for (const name of ["sam", "constructor"]) {
    const unknown = { name, options: {}, inner: storedOptimizer(sgd()) };
    expect(() => optimizerFromStored(unknown)).toThrow(
      new UsageError(`there is no transformation "${name}" around another one; there is accumulate`),
    );
  }
});
