import { describe, expect, test } from "vitest";
import { shuffledIndices } from "../../src/data/batches.ts";
import { betaOf, mixup } from "../../src/data/mixup.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  binaryCrossEntropy,
  crossEntropy,
  Model,
  type Objective,
  Trainer,
} from "../../src/index.ts";
import { distillation, klDivergence } from "../../src/losses/public.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { randomStream } from "../../src/random.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { clouds, losses, network, plain, train } from "../runtime/small-run.ts";

// scipy.stats.beta.cdf(0.1, a, a)
test.each([
  [0.2, 0.33669],
  [1, 0.1],
  [4, 0.002728],
])("shares come from Beta(%f, %f)", (alpha, below) => {
  const draws = Array.from({ length: 4000 }, (_, i) => betaOf(alpha, randomStream("test", i)));
  const mean = draws.reduce((a, b) => a + b) / draws.length;
  const variance = draws.reduce((a, b) => a + (b - mean) ** 2, 0) / draws.length;
  const expected = 1 / (4 * (2 * alpha + 1));
  expect(mean).toBeCloseTo(0.5, 1);
  expect(variance / expected).toBeGreaterThan(0.93);
  expect(variance / expected).toBeLessThan(1.07);
  const share = draws.filter((draw) => draw < 0.1).length / draws.length;
  expect(Math.abs(share - below)).toBeLessThan(0.03);
  expect(draws.every((draw) => draw >= 0 && draw <= 1)).toBe(true);
});

test("a batch is mixed with a permutation of itself, all arrays alike", () => {
  const indices = Uint32Array.of(5, 1, 7, 3, 2, 6);
  const mix = mixup(0.4)(indices, 3, { seed: 2, epoch: 1 });
  const [one, wide] = [Float32Array.from(indices), Float32Array.from([...indices, ...indices].sort())];
  mix(one, 1);
  for (const [i, value] of one.entries()) {
    const own = indices[i] as number;
    const others = [...indices.subarray(i < 3 ? 0 : 3, i < 3 ? 3 : 6)];
    expect(value).toBeGreaterThanOrEqual(Math.min(...others) - 1e-6);
    expect(value).toBeLessThanOrEqual(Math.max(own, ...others) + 1e-6);
  }
  // The sum over a batch stays, since partners are a permutation.
  expect(one.subarray(0, 3).reduce((a, b) => a + b)).toBeCloseTo(13, 5);
  mix(wide, 2);
  expect(wide.slice(0, 6).reduce((a, b) => a + b)).toBeCloseTo(1 + 1 + 2 + 2 + 3 + 3, 5);
  const again = Float32Array.from(indices);
  mixup(0.4)(indices, 3, { seed: 2, epoch: 1 })(again, 1);
  expect([...again]).toEqual([...one]);
  const other = Float32Array.from(indices);
  mixup(0.4)(indices, 3, { seed: 3, epoch: 1 })(other, 1);
  expect([...other]).not.toEqual([...one]);
});

const x = Float32Array.from({ length: 12 }, (_, i) => 2 * Math.sin(i));
const y = Int32Array.of(0, 2, 1, 2);
const weight = Float32Array.from({ length: 9 }, (_, i) => Math.cos(3 * i));

/** logits = x · weight. */
function linear(): Model {
  const b = new GraphBuilder(18);
  const matrix = b.graph.addInitializer(Tensor.float("weight", [3, 3], weight));
  b.graph.addOutput(b.op("MatMul", [b.input("x", ["batch", 3]), matrix], "logits"));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

describe("training", () => {
  const own = { ...plain, threads: 1, mixup: 0.5 } as const;

  test("same bits for the same seed and however many steps a run has; others with another seed", async () => {
    const run = async (options: object) =>
      losses(await Trainer.create(network(), { ...own, ...options }), train, { epochs: 2 });
    const first = await run({ stepsPerRun: 1 });
    expect(await run({ stepsPerRun: 3 })).toEqual(first);
    expect(await run({ mixup: 0.2, stepsPerRun: 1 })).not.toEqual(first);
  });

  test.each([0, 1, 2])(
    "seed %i: the loss is λ times that of the labels plus 1 − λ times that of the partners' labels",
    async (seed) => {
      const data = arrayDataset(x, y, [3]);
      const trainer = await Trainer.create(linear(), { objective: crossEntropy(), batch: 4, seed, mixup: 1 });
      const [loss] = await losses(trainer, data, { maxSteps: 1 });
      const order = shuffledIndices(seed, 0, 4);
      const shares = Float32Array.from({ length: 16 }, (_, i) => (i % 5 === 0 ? 1 : 0));
      mixup(1)(order, 4, { seed, epoch: 0 })(shares, 4);
      let expected = 0;
      for (let row = 0; row < 4; row++) {
        const share = (k: number) => shares[row * 4 + k] as number;
        const mixed = [0, 1, 2].map((c) =>
          [0, 1, 2, 3].reduce((sum, k) => sum + share(k) * (x[(order[k] as number) * 3 + c] as number), 0),
        );
        const logits = [0, 1, 2].map((j) =>
          mixed.reduce((sum, value, c) => sum + value * (weight[c * 3 + j] as number), 0),
        );
        const partition = Math.log(logits.reduce((sum, value) => sum + Math.exp(value), 0));
        for (let k = 0; k < 4; k++)
          expected += (share(k) * (partition - (logits[y[order[k] as number] as number] as number))) / 4;
      }
      expect(loss).toBeCloseTo(expected, 5);
      await trainer.release();
    },
  );

  test("evaluation is not mixed, and its figures are those of class labels", async () => {
    const held = clouds("held", 16);
    const mixed = await Trainer.create(network(), { ...own, learningRate: 0 });
    const usual = await Trainer.create(network(), { ...plain, threads: 1, learningRate: 0 });
    const [a, b] = [await mixed.evaluate(held), await usual.evaluate(held)];
    expect(a.loss).toBeCloseTo(b.loss, 12);
    expect([a.accuracy, a.samples]).toEqual([b.accuracy, b.samples]);
  });

  test.each([
    [undefined, /mixup mixes the labels of a batch, which the model's own loss cannot take/],
    [distillation(), /which the objective distillation cannot take/],
    [
      crossEntropy({ ignoreIndex: 3 }),
      /mixup mixes labels, and 3, which does not count \(--ignore-index\), is no class to mix/,
    ],
  ] as readonly (readonly [Objective | undefined, RegExp])[])("%# is refused", async (objective, says) => {
    const { objective: _, ...others } = own;
    await expect(Trainer.create(network(), { ...others, ...(objective && { objective }) })).rejects.toThrow(
      says,
    );
  });

  test.each([binaryCrossEntropy(), klDivergence()])(
    "$name takes mixed targets as they are",
    async (objective) => {
      const targets = Float32Array.from({ length: 8 * 3 }, (_, i) => (i % 3 === 1 ? 1 : 0));
      const data = arrayDataset(new Float32Array(24).fill(0.5), targets, [3]);
      const trainer = await Trainer.create(linear(), { objective, batch: 4, mixup: 1 });
      expect((await losses(trainer, data, { epochs: 1 })).every(Number.isFinite)).toBe(true);
    },
  );

  test("alpha must be above 0", async () => {
    await expect(Trainer.create(network(), { ...own, mixup: 0 })).rejects.toThrow("alpha of mixup");
    expect(() => mixup(1)([0], 1, { seed: 0, epoch: 0 })).toThrow("mixup needs two samples in a batch");
  });
});
