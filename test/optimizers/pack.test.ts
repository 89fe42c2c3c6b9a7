import { expect, test } from "vitest";
import { elementCount } from "../../src/onnx/tensor.ts";
import { type Optimizer, transformationOf } from "../../src/optimizers/optimizer.ts";
import { packSmall } from "../../src/optimizers/pack.ts";
import {
  accumulate,
  adafactor,
  adam,
  adamw,
  averageWeights,
  chain,
  clipByGlobalNorm,
  decayWeights,
  lamb,
  nadam,
  perParameter,
  sgd,
} from "../../src/optimizers/public.ts";
import { randomNormals, relativeError } from "../helpers/numbers.ts";
import { type Parameter, runSteps, type UpdateStep, updateGraph } from "./update-runner.ts";

const shapes: readonly (readonly [string, Parameter["type"], readonly number[]])[] = [
  ["a.weight", "float", [4, 3]],
  ["a.bias", "float", [4]],
  ["b.weight", "float", [2, 4, 1]],
  ["b.bias", "float", [2]],
  ["c.bias", "double", [3]],
  ["d.bias", "double", []],
  ["e.scale", "float", []],
];
/** Of these, the weight of twelve numbers is not small. */
const most = 8;
const parameters = shapes.map(
  ([name, type, shape]): Parameter => ({
    ...{ name, type, shape },
    start: Array.from(randomNormals(name, elementCount(shape))),
  }),
);
const steps = [1, 2, 3, 4, 5].map(
  (step): UpdateStep => ({
    gradients: parameters.map(({ name, start }) =>
      Array.from(randomNormals(`${name} ${step}`, start.length)),
    ),
    learningRate: 0.1 / step,
  }),
);

/** Optimizers, and the packs that they permit: the large parameter, then those of one type and treatment. */
const cases: Record<string, { optimizer: Optimizer; packs: number; exact?: boolean }> = {
  adamw: { optimizer: adamw({ weightDecay: 0.1 }), packs: 3 },
  "a decay of biases alone": {
    optimizer: chain(adam(), decayWeights(0.3, { include: /bias$/ })),
    packs: 4,
  },
  "a slot of the run": { optimizer: nadam(), packs: 3 },
  "a norm over all, means of two batches, an average": {
    optimizer: chain(clipByGlobalNorm(0.5), accumulate(2, sgd({ momentum: 0.9 })), averageWeights(0.9)),
    ...{ packs: 3, exact: false },
  },
  "a norm of each parameter": { optimizer: lamb(), packs: 7 },
  "arithmetic that reads shapes": { optimizer: adafactor(), packs: 7 },
  "an optimizer of one's own": {
    optimizer: perParameter({
      ...{ name: "own", options: {}, slots: [] },
      update: (g, { parameter, gradient }) => ({ parameter: g.sub(parameter, gradient), slots: [] }),
      reference: ({ parameter }) => ({ parameter: [...parameter], slots: [] }),
    }),
    packs: 7,
  },
};

test.each(Object.entries(cases))(
  "%s: packed parameters have the numbers of single ones",
  async (name, one) => {
    const { optimizer, packs, exact = true } = one;
    const packed = packSmall(transformationOf(optimizer), most);
    const [own, other] = [
      await runSteps(packed, parameters, steps),
      await runSteps(optimizer, parameters, steps),
    ];
    for (const [step, numbers] of own.entries()) {
      const expected = other[step] ?? numbers;
      expect(Object.keys(numbers.slots)).toEqual(Object.keys(expected.slots));
      if (exact) expect(numbers).toEqual(expected);
      for (const [i, values] of numbers.parameters.entries()) {
        expect(relativeError(values, expected.parameters[i] ?? []), name).toBeLessThan(1e-6);
      }
    }
    expect(new Set(own.map((numbers) => numbers.parameters.join())).size).toBeGreaterThan(2);
    // Each pack ends in as many Split nodes as it has slots, and one for its parameters.
    const { graph } = updateGraph(packed, parameters);
    const splits = graph.nodes.filter(({ op }) => op === "Split");
    const slots = packed.init(parameters).filter(({ of }) => of === 0).length;
    const alone = shapes.length - splits.reduce((sum, { outputs }) => sum + outputs.length, 0) / (slots + 1);
    expect(splits.length / (slots + 1) + alone).toBe(packs);
  },
);
