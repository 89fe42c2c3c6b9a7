import { describe, expect, test } from "vitest";
import { decoder } from "../../models/decoder.ts";
import { namedDataset } from "../../src/data/array-dataset.ts";
import { type Dataset, subset } from "../../src/data/dataset.ts";
import { lengthsOf } from "../../src/data/lengths.ts";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { crossEntropy, type Prediction, predict, readModel, type TrainerOptions } from "../../src/index.ts";
import {
  causalLm,
  contrastive,
  maskedLm,
  meanSquaredError,
  type Objective,
} from "../../src/losses/public.ts";
import { Model } from "../../src/onnx/model.ts";
import { evaluateModel } from "../../src/runtime/evaluate-model.ts";
import { nodeRuntime } from "../../src/runtime/node.ts";
import { Trainer } from "../../src/runtime/trainer.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { maxDifference, randomInts } from "../helpers/numbers.ts";

const most = 12;
const buckets = [4, 7, most];
const size = 30;
/** Classes of tokens in the fixture. */
const tagCount = 3;

/** How texts are made: the most tokens of one, its labels, how many sequences make a sample, and the label of padding. */
interface Kind {
  readonly longest?: number;
  readonly labels?: "texts" | "places" | "numbers";
  readonly sequences?: number;
  readonly padding?: number;
}

/** Texts of 2 or more tokens, padded with a token that would change a loss that reads it. */
function texts({ longest = most, labels, sequences = 1, padding = -100 }: Kind = {}): Dataset {
  const rows = size * sequences;
  const tokens = randomInts("lengths", rows, 2, longest + 1);
  const ids = randomInts("ids", rows * most, 5, 12);
  const counts = ids.map((_, at) => (at % most < (tokens[Math.floor(at / most)] as number) ? 1 : 0));
  const shape = sequences === 1 ? [most] : [sequences, most];
  const column = (numbers: readonly number[]) => ({ data: Int32Array.from(numbers), shape });
  const classes = randomInts("labels", rows * most, 0, 3);
  return namedDataset({
    name: "texts",
    inputs: {
      input_ids: column(ids.map((id, at) => (counts[at] ? id : 3))),
      attention_mask: column(counts),
    },
    ...(labels === "texts" && { labels: { data: Int32Array.from(classes.slice(0, size)) } }),
    ...(labels === "places" && { labels: column(classes.map((one, at) => (counts[at] ? one : padding))) }),
    ...(labels === "numbers" && {
      labels: { data: new Float32Array(rows * most * tagCount).fill(1), shape: [most, tagCount] },
    }),
  });
}

const hub = (name: string) => readModel(`test/fixtures/hugging-face/${name}.onnx`);
const words = Model.fromProto(decoder().toProto());
const tags = crossEntropy({ classAxis: -1, ignoreIndex: -100 });

const kinds: [string, () => Model | Promise<Model>, Objective, Kind][] = [
  ["next tokens", () => words, causalLm(), {}],
  ["masked tokens", () => words, maskedLm({ maskToken: 4, probability: 0.5 }), {}],
  ["classes of texts", () => hub("bert"), crossEntropy(), { labels: "texts" }],
  ["classes of tokens", () => hub("tagger"), tags, { labels: "places" }],
  ["labels of next tokens", () => hub("llama"), causalLm(), { labels: "places" }],
];

const metricsOf = ({ name }: Objective) => [name === "cross-entropy" ? "top2" : "perplexity"];

/** Every number of a report, so that reports can be compared within rounding. */
const numbersIn = (report: unknown): number[] =>
  typeof report === "number"
    ? [report]
    : typeof report === "object" && report !== null
      ? Object.values(report).flatMap(numbersIn)
      : [];

async function answers(
  model: Model,
  data: Dataset,
  options: Parameters<typeof predict>[2],
): Promise<Prediction[]> {
  const found: Prediction[] = [];
  for await (const one of predict(model, data, options)) found.push(one);
  return found;
}

describe("an evaluation in buckets has the figures of the whole length", () => {
  test.each(kinds)("%s", async (_, source, objective, kind) => {
    const model = await source();
    const data = texts(kind);
    const said: string[] = [];
    const onMessage = (text: string) => said.push(text);
    const how = { objective, batch: 4, worst: size, metrics: metricsOf(objective), threads: 1 };
    const whole = await evaluateModel(model, data, how, nodeRuntime);
    const found = await evaluateModel(model, data, { ...how, buckets, onMessage }, nodeRuntime);
    expect(found.samples).toBe(size);
    expect(found.worst.map(({ sample }) => sample).sort()).toEqual(
      whole.worst.map(({ sample }) => sample).sort(),
    );
    const [ours, theirs] = [found, whole].map(({ worst, ...figures }) => ({
      ...figures,
      worst: worst.toSorted((a, b) => a.sample - b.sample),
    }));
    expect(maxDifference(numbersIn(ours), numbersIn(theirs))).toBeLessThan(1e-5);
    expect(found.loss).toBeGreaterThan(0.1);
    const counts = buckets.map((end, i) =>
      randomInts("lengths", size, 2, most + 1).filter((one) => one <= end && one > (buckets[i - 1] ?? 0)),
    );
    expect(said).toEqual([
      `texts: 30 samples by the tokens of their bucket: ${counts.map(({ length }, i) => `${length} of up to ${buckets[i]}`).join(", ")}`,
    ]);
  });

  test.each(kinds)("beside a training run: %s", async (_, source, objective, kind) => {
    const model = await source();
    const data = texts(kind);
    const own: TrainerOptions = { objective, batch: 4, threads: 1, metrics: metricsOf(objective) };
    const options = { ...own, dims: lengthsOf(model, data, own) };
    const whole = await Trainer.create(model, options, nodeRuntime);
    const said: string[] = [];
    const onMessage = (text: string) => said.push(text);
    const trainer = await Trainer.create(model, { ...options, buckets, onMessage }, nodeRuntime);
    const [ours, theirs] = [await trainer.evaluate(data), await whole.evaluate(data)];
    expect(ours.samples).toBe(size);
    expect(Math.abs(ours.loss - theirs.loss)).toBeLessThan(1e-6);
    expect(maxDifference(numbersIn(ours), numbersIn(theirs)) / Math.max(...numbersIn(theirs))).toBeLessThan(
      1e-9,
    );
    for await (const event of trainer.fit(data, { epochs: 1, validation: 0.3 })) {
      if (event.event === "epoch") expect(event.validation?.samples).toBe(9);
    }
    expect(said.filter((text) => text.includes("samples by the tokens"))).toHaveLength(1);
    await trainer.release();
    await whole.release();
  });
});

describe("answers in buckets are those of the whole length, in the order of the samples", () => {
  test.each<[string, () => Model | Promise<Model>, Objective, Kind]>([
    ["next tokens", () => words, causalLm(), {}],
    ["classes of texts", () => hub("bert"), crossEntropy(), {}],
    ["embeddings of pairs", () => hub("bert"), contrastive(), { sequences: 2 }],
    ["embeddings", () => hub("bert"), contrastive(), {}],
    // The texts' places are averaged where the mask is 1.
    ["embeddings of tokens", () => words, contrastive(), {}],
  ])("%s", async (_, source, objective, kind) => {
    const model = await source();
    const data = texts(kind);
    const how = { objective, batch: 8, threads: 1 };
    const whole = await answers(model, data, how);
    const found = await answers(model, data, { ...how, buckets });
    expect(found.map(({ sample, answer }) => ({ sample, answer }))).toEqual(
      whole.map(({ sample, answer }) => ({ sample, answer })),
    );
    expect(found.map(({ sample }) => sample)).toEqual(Array.from({ length: size }, (_, i) => i));
    for (const [i, { scores }] of found.entries()) {
      expect(maxDifference(scores, whole[i]?.scores ?? [])).toBeLessThan(1e-5);
    }
  });
});

/** Scores of texts: the mean over all places, padding too, beside a mask that is read, but for show. */
function meanOfAll(): Model {
  const b = new GraphBuilder(21);
  const [ids, mask] = ["input_ids", "attention_mask"].map((name) =>
    b.input(name, ["batch", "sequence"], "int64"),
  ) as [Value, Value];
  const known = b.op("Gather", [b.weight("words", [32, 6]), ids], "known");
  const shown = b.op("Mul", [b.op("Cast", [mask], "shown", { to: 1 }), b.weight("none", [1])], "nothing");
  const all = b.op("Add", [known, b.op("Unsqueeze", [shown, b.int64("last", [2])], "wide")], "all");
  const mean = b.op("ReduceMean", [all, b.int64("axis", [1])], "mean", { keepdims: 0 });
  return Model.fromProto(
    graphToProto(b.output(b.op("MatMul", [mean, b.weight("head", [6, 3])], "scores")), { irVersion: 9 }),
  );
}

describe("an evaluation in buckets is refused", () => {
  const labelled = texts({ labels: "texts" });
  test.each<[string, () => Model | Promise<Model>, Objective, Dataset, readonly number[], string]>([
    [
      "for a model that reads padding",
      meanOfAll,
      crossEntropy(),
      labelled,
      buckets,
      'results depend on padding: "scores" differs',
    ],
    [
      "for other lengths than that of the samples",
      () => hub("bert"),
      crossEntropy(),
      labelled,
      [4, 8],
      "the last is to be the length",
    ],
    ["for lengths that do not ascend", () => hub("bert"), crossEntropy(), labelled, [8, 4, 12], "not 8,4,12"],
    [
      "for samples that are compared with each other",
      () => hub("bert"),
      contrastive(),
      texts({ sequences: 2 }),
      buckets,
      "computed for whole batches",
    ],
    [
      "for numbers at the places of padding",
      () => hub("tagger"),
      meanSquaredError(),
      texts({ labels: "numbers" }),
      buckets,
      "which is padding, and it counts in the loss",
    ],
    [
      "for labels of padding that count",
      () => hub("tagger"),
      crossEntropy({ classAxis: -1 }),
      texts({ labels: "places", padding: 0 }),
      buckets,
      "which is padding, and it counts in the loss",
    ],
  ])("%s", async (_, source, objective, data, lengths, words) => {
    const model = await source();
    await expect(
      evaluateModel(model, data, { objective, buckets: lengths, batch: 4 }, nodeRuntime),
    ).rejects.toThrow(words);
  });

  test("for answers of padding, and for embeddings that read it", async () => {
    const data = texts();
    await expect(answers(await hub("tagger"), data, { objective: tags, buckets, batch: 4 })).rejects.toThrow(
      "has an answer for each place, also for those of padding",
    );
    await expect(answers(meanOfAll(), data, { objective: contrastive(), buckets, batch: 4 })).rejects.toThrow(
      "results depend on padding",
    );
  });

  test("as a run is that trains on labels of padding", async () => {
    const model = await hub("tagger");
    const data = texts({ labels: "places", padding: 0 });
    const own: TrainerOptions = { objective: crossEntropy({ classAxis: -1 }), batch: 4 };
    const trainer = await Trainer.create(
      model,
      { ...own, buckets, dims: lengthsOf(model, data, own) },
      nodeRuntime,
    );
    await expect(trainer.fit(data).next()).rejects.toThrow("which is padding, and it counts in the loss");
    // An evaluation takes the whole length then.
    const plain = await Trainer.create(model, { ...own, dims: lengthsOf(model, data, own) }, nodeRuntime);
    expect((await trainer.evaluate(data)).loss).toBe((await plain.evaluate(data)).loss);
    await trainer.release();
    await plain.release();
  });
});

test("an evaluation opens a session for each length that its texts have, and a model's own graph only one", async () => {
  const model = await hub("bert");
  const data = texts({ longest: 6, labels: "texts" });
  const opened: unknown[] = [];
  const backends = nodeRuntime.backends.map((backend) => ({
    ...backend,
    openForward: (...how: Parameters<typeof backend.openForward>) => {
      opened.push(how);
      return backend.openForward(...how);
    },
  }));
  const runtime = { ...nodeRuntime, backends: backends as unknown as typeof nodeRuntime.backends };
  const own = { objective: crossEntropy(), batch: 4, buckets };
  const options = { ...own, dims: lengthsOf(model, data, own) };
  const trainer = await Trainer.create(model, options, runtime);
  // Texts of up to 4 and of up to 7 tokens; for a second time nothing is opened.
  for await (const _ of trainer.fit(data, { epochs: 2, validation: 0.3 }));
  expect(opened).toHaveLength(2);
  await trainer.evaluate(
    subset(
      data,
      Uint32Array.from({ length: 10 }, (_, i) => i),
    ),
  );
  expect(opened).toHaveLength(2);
  await trainer.release();
  await evaluateModel(model, data, own, runtime);
  expect(opened).toHaveLength(3);
});
