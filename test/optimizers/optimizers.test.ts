import { describe, expect, test } from "vitest";
import type { Shape } from "../../src/graph/shapes.ts";
import { elementCount } from "../../src/onnx/tensor.ts";
import type { Optimizer, PerParameterOptimizer } from "../../src/optimizers/optimizer.ts";
import {
  accumulate,
  adam,
  adamw,
  adamwOrt,
  addDecayedWeights,
  averageWeights,
  chain,
  clipByGlobalNorm,
  decayWeights,
  momentum,
  scaleByAdam,
  scaleByLearningRate,
  scaleBySign,
  sgd,
} from "../../src/optimizers/public.ts";
import { optimizerFactories, transformationFactories } from "../../src/optimizers/table.ts";
import { randomNormals, relativeError } from "../helpers/numbers.ts";
import { type Parameter, referenceSteps, runSteps, type UpdateStep, updateGraph } from "./update-runner.ts";

const named: Record<string, Optimizer> = {
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
const chains: Record<string, Optimizer> = {
  "signs of a momentum": chain(momentum(0.9), scaleBySign(), scaleByLearningRate()),
  "two momentums": chain(momentum(0.9), momentum(0.5), scaleByLearningRate()),
  "Adam whose step is shortened again": chain(scaleByAdam(), scaleByLearningRate(), scaleByLearningRate()),
  "decay of weights alone": chain(addDecayedWeights(0.1, { include: /weight$/ }), sgd({ momentum: 0.9 })),
  "decoupled decay of all but biases": chain(
    adamw({ weightDecay: 0 }),
    decayWeights(0.5, { exclude: /BIAS$/i }),
  ),
  "decay twice, then more": chain(
    adamw(),
    decayWeights(0.1),
    decayWeights(0.1, { after: true }),
    momentum(0.5),
  ),
  "mean of three batches, clipped": accumulate(3, clipByGlobalNorm(0.5), adamw()),
  "mean of two means of three batches": accumulate(2, accumulate(3, sgd({ momentum: 0.9 }))),
  "mean of two batches, then an average": chain(accumulate(2, sgd({ momentum: 0.9 })), averageWeights(0.5)),
  "average of weights": chain(adamwOrt({ weightDecay: 0.1 }), averageWeights(0.9)),
  "average of weights, Nesterov": chain(sgd({ momentum: 0.9, nesterov: true }), averageWeights(0.5)),
};
/** Every optimizer of the table with its defaults, every transformation before and after one. */
const ofTable: Record<string, Optimizer> = Object.fromEntries([
  ...optimizerFactories.map((make) => [`${make.definition.name} of the table`, make()]),
  ...transformationFactories.flatMap((make) => [
    [`${make.definition.name}, then adamw`, chain(make(), adamw())],
    [`sgd with momentum, then ${make.definition.name}`, chain(sgd({ momentum: 0.9 }), make())],
  ]),
]);

const shapes: Record<string, Shape> = { "fc.weight": [6, 3], "fc.bias": [3], scale: [] };
const parametersOf = (type: Parameter["type"]): Parameter[] =>
  Object.entries(shapes).map(([name, shape]) => ({
    ...{ name, type, shape },
    // Muon alone asks for it.
    ...(shape.length === 2 && { matrix: { unitAxis: 1, groups: 1, isOutput: false } as const }),
    start: Array.from(randomNormals(`optimizer start ${name}`, elementCount(shape))),
  }));
const numberOfSteps = 7;
/** Gradients of many sizes, away from 0, where float32 and Adam would only compare signs; the rate falls to 0. */
const steps: UpdateStep[] = Array.from({ length: numberOfSteps }, (_, step) => ({
  gradients: Object.entries(shapes).map(([name, shape]) =>
    Array.from(randomNormals(`optimizer gradient ${name} ${step}`, elementCount(shape)), (value, i) =>
      Math.fround((value + Math.sign(value)) * 10 ** ((i % 5) - 3)),
    ),
  ),
  learningRate: Math.fround(0.05 * (1 - step / (numberOfSteps - 1))),
}));
const flat = (parameters: readonly (readonly number[])[]) => parameters.flat();

describe("the graph of an update follows its float64 reference", () => {
  for (const [name, optimizer] of Object.entries({ ...named, ...chains, ...ofTable })) {
    for (const [type, tolerance] of [
      ["float", 2e-6],
      ["double", 1e-12],
    ] as const) {
      test(`${name}, ${type}`, async () => {
        const parameters = parametersOf(type);
        const [graph, reference] = [
          (await runSteps(optimizer, parameters, steps)).at(-1),
          referenceSteps(optimizer, parameters, steps).at(-1),
        ];
        if (!graph || !reference) throw new RangeError("there was no step");
        const start = parameters.map((parameter) => parameter.start);
        expect(relativeError(flat(graph.parameters), flat(reference.parameters))).toBeLessThan(tolerance);
        expect(relativeError(flat(reference.parameters), flat(start))).toBeGreaterThan(0.001);
        expect(Object.keys(graph.slots).sort()).toEqual(Object.keys(reference.slots).sort());
        for (const [slot, expected] of Object.entries(reference.slots)) {
          expect(relativeError(graph.slots[slot] ?? [], expected), slot).toBeLessThan(tolerance);
        }
      });
    }
  }
});

test("a parameter that never had a gradient stays as it is, at a learning rate of 0 too", async () => {
  const parameters = parametersOf("float");
  const still = [0.1, 0].map((learningRate) => ({
    ...{ gradients: parameters.map(({ start }) => start.map(() => 0)), learningRate },
  }));
  for (const make of optimizerFactories) {
    const bare = Object.hasOwn(make.definition.defaults, "weightDecay") ? make({ weightDecay: 0 }) : make();
    const last = (await runSteps(bare, parameters, still)).at(-1);
    expect(last?.parameters, make.definition.name).toEqual(parameters.map(({ start }) => start));
  }
});

describe("the norm of many gradients", () => {
  /** A norm of the gradients that is not clipped, and one that is: what is left of a gradient of `value`. */
  async function left(
    sizes: readonly number[],
    value: (i: number) => number,
  ): Promise<{ graph: number; exact: number }> {
    const parameters = sizes.map((size, i) => ({
      ...{ name: `p${i}`, type: "float" as const, shape: [size], start: new Array<number>(size).fill(0) },
    }));
    const gradients = sizes.map((size, i) => new Array<number>(size).fill(Math.fround(value(i))));
    const [result] = await runSteps(chain(clipByGlobalNorm(1), sgd()), parameters, [
      { gradients, learningRate: 1 },
    ]);
    const norm = Math.sqrt(gradients.flat().reduce((total, one) => total + one * one, 0));
    return {
      graph: -(result?.parameters[0]?.[0] ?? Number.NaN),
      exact: (gradients[0]?.[0] ?? 0) / (norm + 1e-6),
    };
  }

  test("is exact to float32 over one large parameter and 600 small ones of other sizes", async () => {
    const sizes = [300_000, ...Array.from({ length: 600 }, (_, i) => 1 + (i % 7))];
    const { graph, exact } = await left(sizes, (i) => (i === 0 ? 0.1 : 3 + i / 100));
    expect(Math.abs(graph / exact - 1)).toBeLessThan(1e-6);
  });

  test("of zeros changes nothing", async () => {
    const { graph } = await left([3, 2], () => 0);
    expect(graph).toBe(-0);
  });
});

describe("a gradient that is no number", () => {
  const broken = (type: Parameter["type"]): UpdateStep[] => [
    {
      gradients: parametersOf(type).map(({ start }, i) =>
        start.map((_, k) => (i + k === 0 ? Number.NaN : 1)),
      ),
      learningRate: 0.1,
    },
  ];
  for (const [name, optimizer] of Object.entries({ ...named, ...ofTable })) {
    test(`makes its parameter none, so that the run is stopped: ${name}`, async () => {
      const [graph] = await runSteps(optimizer, parametersOf("float"), broken("float"));
      expect(graph?.parameters[0]?.[0]).toBeNaN();
      const [reference] = referenceSteps(optimizer, parametersOf("double"), broken("double"));
      const isNumber = (values: readonly number[] = []) => values.map(Number.isNaN);
      expect(graph?.parameters.map(isNumber)).toEqual(reference?.parameters.map(isNumber));
    });
  }
});

test("a user's own optimizer of one parameter stands in chains", async () => {
  const own: PerParameterOptimizer = {
    ...{ name: "own", options: {}, slots: ["own"] },
    update: (g, { parameter, gradient, slots: [before], learningRate }) => {
      const next = g.add(g.mul(before ?? gradient, 0.9), gradient);
      return { parameter: g.sub(parameter, g.mul(next, learningRate)), slots: [next] };
    },
    reference: ({ parameter, gradient, slots: [before], learningRate }) => {
      const next = gradient.map((value, i) => 0.9 * (before?.[i] ?? 0) + value);
      return { parameter: parameter.map((w, i) => w - learningRate * (next[i] ?? 0)), slots: [next] };
    },
  };
  const parameters = parametersOf("double");
  for (const around of [
    (one: Optimizer) => one,
    (one: Optimizer) => chain(scaleBySign(), one, averageWeights(0.9)),
  ]) {
    const numbers = [
      await runSteps(around(own), parameters, steps),
      referenceSteps(around(own), parameters, steps),
      referenceSteps(around(sgd({ momentum: 0.9 })), parameters, steps),
    ].map((found) => flat(found.at(-1)?.parameters ?? []));
    for (const found of numbers.slice(0, 2))
      expect(relativeError(found, numbers[2] ?? [])).toBeLessThan(1e-12);
  }
});

test("scalars of a loss in float64 are cast for parameters in float32", async () => {
  const mixed = parametersOf("float").map((parameter, i) =>
    i === 1 ? { ...parameter, type: "double" as const } : parameter,
  );
  for (const optimizer of Object.values(ofTable)) {
    const graph = (await runSteps(optimizer, mixed, steps, "double")).at(-1);
    const reference = referenceSteps(optimizer, mixed, steps).at(-1);
    expect(relativeError(flat(graph?.parameters ?? []), flat(reference?.parameters ?? []))).toBeLessThan(
      2e-6,
    );
  }
});

describe("size of the graph", () => {
  /** Nodes that write a whole parameter, and nodes that write a scalar. */
  const count = (optimizer: Optimizer, copies: number) => {
    const parameters = Array.from({ length: copies }, (_, i) => ({
      ...{ name: `p${i}`, type: "float" as const, shape: [24] },
    }));
    const { nodes } = updateGraph(optimizer, parameters).graph;
    const whole = nodes.filter(({ outputs }) => outputs[0]?.shape?.length === 1).length;
    return { whole, scalar: nodes.length - whole };
  };

  test("elementwise passes per parameter", () => {
    const passes = Object.entries(named).map(([name, optimizer]) => [name, count(optimizer, 1).whole]);
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

  test("a clipped norm meets the learning rate before a parameter: one more pass to square, one to add up", () => {
    expect(count(chain(clipByGlobalNorm(1), sgd()), 2).whole).toBe(2 * (count(sgd(), 1).whole + 1));
    // Adam reads the clipped gradient itself.
    expect(count(chain(clipByGlobalNorm(1), adam()), 2).whole).toBe(2 * (count(adam(), 1).whole + 2));
  });

  for (const [name, optimizer] of Object.entries(named)) {
    test(`${name}: all parameters share the scalars`, () => {
      const [one, three] = [count(optimizer, 1), count(optimizer, 3)];
      expect(three).toEqual({ whole: 3 * one.whole, scalar: one.scalar });
    });
  }
});
