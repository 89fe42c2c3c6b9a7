import { describe, expect, test } from "vitest";
import { UsageError } from "../../src/errors.ts";
import { adam } from "../../src/optimizers/adam.ts";
import { adamw } from "../../src/optimizers/adamw.ts";
import { adamwOrt } from "../../src/optimizers/adamw-ort.ts";
import { sgd } from "../../src/optimizers/sgd.ts";
import { optimizerNamed, optimizerNames } from "../../src/optimizers/table.ts";
import { randomNormals, relativeError } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { follow, tensorOf, updateGraph } from "./update-runner.ts";

const optimizers = {
  sgd: sgd(),
  "sgd, weight decay": sgd({ weightDecay: 0.1 }),
  "sgd, momentum": sgd({ momentum: 0.9, weightDecay: 0.01 }),
  "sgd, momentum and dampening": sgd({ momentum: 0.8, dampening: 0.3 }),
  "sgd, Nesterov": sgd({ momentum: 0.9, nesterov: true, weightDecay: 0.01 }),
  adam: adam(),
  "adam, weight decay": adam({ weightDecay: 0.1 }),
  "adam without averages": adam({ beta1: 0, beta2: 0 }),
  adamw: adamw(),
  "adamw, other betas": adamw({ beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weightDecay: 0.2 }),
  "adamw-ort": adamwOrt(),
  "adamw-ort, weight decay": adamwOrt({ epsilon: 1e-3, weightDecay: 0.1 }),
};

const size = 24;
const start = Array.from(randomNormals("optimizer start", size));
const numberOfSteps = 7;
/** Gradients of many sizes, away from 0, where float32 and Adam would only compare signs; the rate falls to 0. */
const steps = Array.from({ length: numberOfSteps }, (_, step) => ({
  gradient: Array.from(randomNormals(`optimizer gradient ${step}`, size), (value, i) =>
    Math.fround((value + Math.sign(value)) * 10 ** ((i % 5) - 3)),
  ),
  learningRate: Math.fround(0.05 * (1 - step / (numberOfSteps - 1))),
}));

describe("the graph of an update follows its float64 reference", () => {
  for (const [name, optimizer] of Object.entries(optimizers)) {
    for (const [type, tolerance] of [
      ["float", 1e-6],
      ["double", 1e-12],
    ] as const) {
      test(`${name}, ${type}`, async () => {
        const { graph, reference } = await follow(optimizer, type, start, steps);
        expect(relativeError(graph.parameter, reference.parameter)).toBeLessThan(tolerance);
        expect(relativeError(reference.parameter, start)).toBeGreaterThan(0.01);
        for (const [i, slot] of reference.slots.entries()) {
          expect(relativeError(graph.slots[i] ?? [], slot)).toBeLessThan(tolerance);
        }
      });
    }
  }
});

describe("references, by hand", () => {
  // Powers of two, so that the figures are exact.
  const one = { parameter: [2], gradient: [0.5], slots: [[0]], learningRate: 0.25, step: 1 };

  test("the first buffer of SGD is the gradient, dampened only later", () => {
    const optimizer = sgd({ momentum: 0.5, dampening: 0.25 });
    const first = optimizer.reference(one);
    expect(first).toEqual({ parameter: [1.875], slots: [[0.5]] });
    // m = 0.5·0.5 + 0.75·0.5 = 0.625
    expect(optimizer.reference({ ...one, ...first, step: 2 })).toEqual({
      parameter: [1.71875],
      slots: [[0.625]],
    });
  });

  test("Nesterov steps along g + μ·m", () => {
    expect(sgd({ momentum: 0.5, nesterov: true }).reference(one).parameter).toEqual([2 - 0.25 * 0.75]);
  });

  test("the first step of Adam is the learning rate, whatever the gradient's size", () => {
    for (const gradient of [1e-3, 1, 1e3]) {
      const { parameter } = adam().reference({ ...one, gradient: [gradient], slots: [[0], [0]] });
      expect(parameter[0]).toBeCloseTo(1.75, 4);
    }
  });

  test("weight decay of AdamW shrinks a parameter without a gradient by lr·λ; that of Adam moves it by lr", () => {
    const still = { ...one, gradient: [0], slots: [[0], [0]] };
    expect(adamw({ weightDecay: 0.5 }).reference(still)).toEqual({ parameter: [1.75], slots: [[0], [0]] });
    expect(adam({ weightDecay: 0.5 }).reference(still).parameter[0]).toBeCloseTo(1.75, 6);
    expect(adam({ weightDecay: 0.5 }).reference({ ...still, parameter: [4] }).parameter[0]).toBeCloseTo(
      3.75,
      6,
    );
  });
});

describe("bias correction", () => {
  // v = 0, g = 1 and m = 0 make the change lr·(1−β1)/(1−β1ᵗ) · √(1−β2ᵗ)/√(1−β2), known in closed form.
  const { beta1, beta2 } = { beta1: 0.9, beta2: 0.999 };
  for (const t of [1, 2, 3, 10, 100, 1000, 20_000, 1_000_000]) {
    test(`holds in float32 at step ${t}`, async () => {
      const outputs = await runModel(updateGraph(adam(), "float", 1), {
        p0: tensorOf("float", [1], [0]),
        "p0.gradient": tensorOf("float", [1], [1]),
        "p0.m": tensorOf("float", [1], [0]),
        "p0.v": tensorOf("float", [1], [0]),
        learning_rate: tensorOf("float", [], [1]),
        step: tensorOf("float", [], [t]),
      });
      const change = -(Object.values(outputs)[0]?.numbers()[0] ?? Number.NaN);
      const corrections = Math.sqrt(-Math.expm1(t * Math.log(beta2))) / -Math.expm1(t * Math.log(beta1));
      const expected = (corrections * (1 - beta1)) / Math.sqrt(1 - beta2);
      expect(Math.abs(change / expected - 1)).toBeLessThan(5e-7);
    });
  }
});

test("a parameter that never had a gradient stays as it is, at a learning rate of 0 too", async () => {
  const still = [0.1, 0].map((learningRate) => ({ gradient: start.map(() => 0), learningRate }));
  const { graph } = await follow(adam(), "float", start, still);
  expect(graph.parameter).toEqual(start);
});

describe("size of the graph", () => {
  /** Nodes that write a whole parameter, and nodes that write a scalar. */
  const count = (name: keyof typeof optimizers, copies: number) => {
    const { nodes } = updateGraph(optimizers[name], "float", size, copies);
    const whole = nodes.filter(({ outputs }) => outputs[0]?.shape?.length === 1).length;
    return { whole, scalar: nodes.length - whole };
  };

  test("elementwise passes per parameter", () => {
    const passes = Object.keys(optimizers).map((name) => [
      name,
      count(name as keyof typeof optimizers, 1).whole,
    ]);
    expect(Object.fromEntries(passes)).toEqual({
      sgd: 2,
      "sgd, weight decay": 4,
      "sgd, momentum": 6,
      "sgd, momentum and dampening": 5,
      "sgd, Nesterov": 8,
      adam: 12,
      "adam, weight decay": 14,
      "adam without averages": 12,
      adamw: 13,
      "adamw, other betas": 13,
      "adamw-ort": 12,
      "adamw-ort, weight decay": 13,
    });
  });

  for (const name of Object.keys(optimizers) as (keyof typeof optimizers)[]) {
    test(`${name}: all parameters share the scalars`, () => {
      const [one, three] = [count(name, 1), count(name, 3)];
      expect(three).toEqual({ whole: 3 * one.whole, scalar: one.scalar });
    });
  }
});

describe("options of an optimizer", () => {
  test("default to PyTorch's", () => {
    const moments = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    expect(sgd().options).toEqual({ momentum: 0, dampening: 0, nesterov: false, weightDecay: 0 });
    expect(adam().options).toEqual({ ...moments, weightDecay: 0 });
    expect(adamw().options).toEqual({ ...moments, weightDecay: 0.01 });
    expect([sgd().slots, sgd({ momentum: 0.9 }).slots, adam().slots]).toEqual([[], ["m"], ["m", "v"]]);
  });

  test("go with the optimizer's name", () => {
    expect(optimizerNames).toEqual(["adamw", "adam", "sgd", "adamw-ort"]);
    expect(optimizerNamed("sgd", { momentum: 0.9, nesterov: true }).options).toEqual(
      sgd({ momentum: 0.9, nesterov: true }).options,
    );
    expect(optimizerNames.map((name) => optimizerNamed(name).name)).toEqual(optimizerNames);
  });

  for (const [name, options, message] of [
    ["lion", {}, 'there is no optimizer "lion"; there are adamw, adam, sgd, adamw-ort'],
    ["constructor", {}, 'there is no optimizer "constructor"; there are adamw, adam, sgd, adamw-ort'],
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
    ["adamw", { epsilon: 0 }, "option epsilon of the optimizer adamw must be a number above 0, not 0"],
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
