import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { namedDataset } from "../../src/data/array-dataset.ts";
import { type Dataset, subset } from "../../src/data/dataset.ts";
import { evaluateModel, sgd, Trainer } from "../../src/index.ts";
import {
  contrastive,
  cosineSimilarity,
  crossEntropy,
  infoNce,
  type Objective,
  triplet,
} from "../../src/losses/public.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { maxDifference } from "../helpers/numbers.ts";
import { fixture, modelFixture } from "../oracles/references.ts";
import { losses } from "../runtime/small-run.ts";

const torch = fixture<{
  readonly rate: number;
  readonly ids: number[][][];
  readonly mask: number[][][];
  readonly losses: Readonly<Record<string, readonly number[]>>;
}>("embeddings/losses.json");
const samples = 6;
const encoder = modelFixture("embeddings/encoder.onnx");

/** Texts of each sample: [6, count, 4], and [6, 4] for one. */
function texts(count: number, y?: Int32Array | Float32Array): Dataset {
  const of = (all: readonly number[][][]) => ({
    data: Int32Array.from(all.map((sample) => sample.slice(0, count)).flat(2)),
    shape: count === 1 ? [4] : [count, 4],
  });
  const inputs = { input_ids: of(torch.ids), attention_mask: of(torch.mask) };
  return namedDataset({ inputs, ...(y && { labels: { data: y } }) });
}

const classes = Int32Array.from(labels("y", samples, 3));
const images = namedDataset({
  inputs: {
    image: { data: uniform("image", samples * 5), shape: [5] },
    text: { data: uniform("text", samples * 4), shape: [4] },
  },
});

interface Case {
  readonly data: Dataset;
  readonly objective: Objective;
  readonly siamese?: number;
}

const cases: Readonly<Record<string, Case>> = {
  pairs: { data: texts(2), objective: infoNce(), siamese: 2 },
  "pairs by cls": {
    data: texts(2),
    objective: contrastive({ temperature: 0.1, pooling: "cls" }),
    siamese: 2,
  },
  "negatives, symmetric": {
    data: texts(3),
    objective: contrastive({ temperature: 0.1, symmetric: true }),
    siamese: 3,
  },
  "two towers": { data: images, objective: contrastive({ temperature: 0.2, symmetric: true }) },
  classes: { data: texts(1, classes), objective: contrastive({ temperature: 0.1 }) },
  triplets: { data: texts(3), objective: triplet(), siamese: 3 },
  "triplets by cosine": {
    data: texts(3),
    objective: triplet({ margin: 0.5, distance: "cosine", swap: true }),
    siamese: 3,
  },
  "all triplets of classes": { data: texts(1, classes), objective: triplet({ margin: 0.3 }) },
  "hardest triplets of classes": {
    data: texts(1, classes),
    objective: triplet({ margin: 0.2, distance: "cosine", mining: "hard" }),
  },
  scores: { data: texts(2, uniform("score", samples)), objective: cosineSimilarity(), siamese: 2 },
};

describe("20 steps as in PyTorch, evaluations beside them", () => {
  test.each(Object.entries(cases))("%s", async (name, { data, objective, siamese }) => {
    const towers = name === "two towers";
    const model = towers ? modelFixture("embeddings/towers.onnx") : encoder;
    const expected = torch.losses[name] as readonly number[];
    const chosen = { objective, ...(towers && { output: "image_embeds,text_embeds" }), batch: samples };
    const before = await evaluateModel(model, data, chosen);
    expect(Math.abs(before.loss - (expected[0] as number))).toBeLessThan(2e-6);
    const options = { ...chosen, ...(siamese && { siamese }), threads: 1, learningRate: torch.rate };
    const trainer = await Trainer.create(model, { ...options, optimizer: sgd() });
    const found = await losses(trainer, data, { epochs: expected.length - 1 });
    expect(maxDifference(found, expected.slice(0, -1))).toBeLessThan(1e-5);
    const own = await trainer.evaluate(data);
    const after = await evaluateModel(trainer.export(), data, chosen);
    for (const { loss } of [own, after]) {
      expect(Math.abs(loss - (expected.at(-1) as number))).toBeLessThan(1e-5);
    }
    expect(own.accuracy ?? -1).toBeCloseTo(after.accuracy ?? -1, 9);
    await trainer.release();
  });
});

describe("refuses", () => {
  const made = (objective: Objective, more: object = {}) =>
    Trainer.create(encoder, { objective, dims: {}, batch: samples, ...more });
  test.each<[string, () => unknown, string]>([
    ["triplets of two", () => made(triplet(), { siamese: 2 }), "needs three embeddings"],
    [
      "a batch of one pair",
      () => made(contrastive(), { siamese: 2, batch: 1 }),
      "a batch of one pair has none",
    ],
    ["scores of single texts", () => made(cosineSimilarity()), "needs two embeddings of each sample"],
    [
      "pairs for another loss",
      () => made(crossEntropy(), { siamese: 2 }),
      "siamese belongs to losses of embeddings",
    ],
    [
      "single texts without classes",
      async () => {
        const trainer = await made(contrastive());
        for await (const _ of trainer.fit(texts(1)));
      },
      "arrays with one axis more, input_ids [2, 4]), or a class as its label",
    ],
    [
      "single texts in an evaluation",
      () => evaluateModel(encoder, texts(1), { objective: triplet(), batch: samples }),
      "give each one anchor, positive and negative",
    ],
    ["an unknown pooling", () => contrastive({ pooling: "max" as "mean" }), "must be mean or cls, not max"],
    ["no temperature", () => contrastive({ temperature: 0 }), "must be a number above 0"],
    [
      "labels of pairs",
      () => evaluateModel(encoder, texts(2, classes), { objective: contrastive(), batch: samples }),
      "takes no labels of pairs",
    ],
  ])("%s", async (_, run, message) => {
    await expect((async () => run())()).rejects.toThrow(message);
  });
});

test("a resumed run of pairs goes on with the same bits, and counts the last batch by itself", async () => {
  const options = { objective: contrastive(), siamese: 2, batch: 4, threads: 1 } as const;
  const data = texts(2);
  const whole = await Trainer.create(encoder, options);
  const expected = await losses(whole, data, { epochs: 4 });
  const half = await Trainer.create(encoder, options);
  const found = await losses(half, data, { epochs: 4, maxSteps: 2 });
  const folder = await mkdtemp(join(tmpdir(), "sorth-pairs-"));
  await half.save(folder);
  const resumed = await Trainer.resume(folder);
  found.push(...(await losses(resumed, data, { maxSteps: 4 })));
  expect(found).toEqual(expected);
  expect(resumed.state()).toEqual(whole.state());
  // Six pairs in batches of four: the figures of four, and of two among themselves.
  const { loss, samples: counted } = await resumed.evaluate(data);
  const parts = [subset(data, Uint32Array.of(0, 1, 2, 3)), subset(data, Uint32Array.of(4, 5))];
  const own = await Promise.all(parts.map(async (part) => (await resumed.evaluate(part)).loss));
  expect(counted).toBe(6);
  expect(loss).toBeCloseTo(((own[0] as number) * 4 + (own[1] as number) * 2) / 6, 9);
  for (const trainer of [whole, half, resumed]) await trainer.release();
  await rm(folder, { recursive: true });
});
