import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decoder } from "../../models/decoder.ts";
import { namedDataset } from "../../src/data/array-dataset.ts";
import { cutTo, orderInBuckets, textBuckets } from "../../src/data/buckets.ts";
import { type Dataset, subset } from "../../src/data/dataset.ts";
import { lengthsOf } from "../../src/data/lengths.ts";
import { labelledTokens } from "../../src/data/token-columns.ts";
import { refuseFunctions } from "../../src/distribute/refusals.ts";
import { crossEntropy, type FitOptions, readModel, Trainer, type TrainerOptions } from "../../src/index.ts";
import { causalLm, contrastive, distillation, type LabelMaker, maskedLm } from "../../src/losses/public.ts";
import { Model } from "../../src/onnx/model.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { accumulate, sgd } from "../../src/optimizers/public.ts";
import { maxDifference, randomInts } from "../helpers/numbers.ts";
import { losses } from "./small-run.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-buckets-"));
});
afterAll(() => rm(folder, { recursive: true }));

const most = 12;
const lengths = [4, 7, most];
const size = 30;

/** What texts are made of: their labels, one for each text or for each place, and how many sequences make a sample. */
interface Kind {
  readonly labels?: "texts" | "places";
  readonly sequences?: number;
  readonly padsLeft?: boolean;
}

/** Texts of 2 to 12 tokens, padded with a token that would change a loss that reads it. */
function texts(name: string, { labels, sequences = 1, padsLeft }: Kind = {}): Dataset {
  const rows = size * sequences;
  const tokens = randomInts(`${name} lengths`, rows, 2, most + 1);
  const ids = randomInts(`${name} ids`, rows * most, 5, 12);
  const counts = ids.map((_, at) => {
    const place = at % most;
    return (padsLeft ? most - 1 - place : place) < (tokens[Math.floor(at / most)] as number) ? 1 : 0;
  });
  const shape = sequences === 1 ? [most] : [sequences, most];
  const column = (numbers: readonly number[]) => ({ data: Int32Array.from(numbers), shape });
  const classes = randomInts(`${name} labels`, rows * most, 0, 3);
  return namedDataset({
    name,
    inputs: {
      input_ids: column(ids.map((id, at) => (counts[at] ? id : 3))),
      attention_mask: column(counts),
    },
    ...(labels === "texts" && { labels: { data: Int32Array.from(classes.slice(0, size)) } }),
    ...(labels === "places" && { labels: column(classes.map((one, at) => (counts[at] ? one : -100))) }),
  });
}

const model = Model.fromProto(decoder().toProto());
const train = texts("texts");
const hub = (name: string) => readModel(`test/fixtures/hugging-face/${name}.onnx`);
const teacher = await hub("bert");

const options: TrainerOptions = {
  ...{ objective: causalLm(), batch: 4, dims: { sequence_length: most }, threads: 1 },
  ...{ learningRate: 0.005, seed: 3 },
};
const inBuckets: TrainerOptions = { ...options, buckets: lengths };

/** Trains. @returns the loss of each step, the trained model, and its figures on other texts */
async function run(source: Model, own: TrainerOptions, data: Dataset, fit: FitOptions) {
  const trainer = await Trainer.create(source, own);
  const found = await losses(trainer, data, fit);
  const { loss } = await trainer.evaluate(data);
  const state = [...trainer.state().parameters.values()].flatMap((tensor) => tensor.numbers());
  const { bytes } = trainer.export();
  await trainer.release();
  return { found, evaluated: loss, bytes, state };
}

/** The same texts in the order of the first epoch of a run with buckets. */
async function inOrderOfBuckets(data: Dataset): Promise<Dataset> {
  const order = orderInBuckets(data, await textBuckets(data, lengths), { batch: 4, seed: 3, epoch: 0 });
  return { ...subset(data, order), inOrder: true };
}

describe("batches of texts of like lengths", () => {
  test("hold the samples of the epoch as without buckets, each in the first bucket that has room", async () => {
    const buckets = await textBuckets(train, lengths);
    const tokens = randomInts("texts lengths", size, 2, most + 1);
    expect([...buckets.bucketOf]).toEqual(tokens.map((count) => lengths.findIndex((one) => one >= count)));
    const order = (epoch: number) => orderInBuckets(train, buckets, { batch: 4, seed: 3, epoch });
    const plain = orderInBuckets(train, { ...buckets, lengths: [most] }, { batch: 4, seed: 3, epoch: 1 });
    expect(plain).toHaveLength(28);
    expect([...order(1)].sort()).toEqual([...plain].sort());
    expect(order(1)).toEqual(order(1));
    expect(order(1)).not.toEqual(order(2));
    const used = Array.from({ length: 7 }, (_, i) =>
      Math.max(
        ...order(1)
          .subarray(4 * i, 4 * i + 4)
          .map((sample) => buckets.bucketOf[sample] ?? 0),
      ),
    );
    // As few batches of the longer buckets as there can be, and not in the order of lengths.
    const least = [0, 1, 2].map((bucket) =>
      Math.ceil([...plain].filter((sample) => (buckets.bucketOf[sample] ?? 0) >= bucket).length / 4),
    );
    expect([0, 1, 2].map((bucket) => used.filter((one) => one >= bucket).length)).toEqual(least);
    expect(new Set(used)).toEqual(new Set([0, 1, 2]));
    expect(used).not.toEqual([...used].sort());
  });

  test("are read as far as the bucket goes, in numbers of any kind", async () => {
    const data = texts("texts", { labels: "places" });
    const buckets = await textBuckets(data, lengths);
    const cut = cutTo(data, buckets, 7, ({ shape }) => shape.at(-1) === most);
    const read = ({ inputs, labels }: Dataset) =>
      [...(inputs?.values() ?? []), ...(labels ? [labels] : [])].map(({ shape, fill }) => {
        const rows = Array.from({ length: size }, (_, i) => i).filter((i) => (buckets.bucketOf[i] ?? 2) < 2);
        const values = new Float64Array(rows.length * (shape[0] ?? 0));
        const wide = new BigInt64Array(values.length);
        fill(rows, values);
        fill(rows, wide);
        expect(Array.from(wide, Number)).toEqual([...values]);
        return [...values];
      });
    const whole = read(data).map((numbers) => numbers.filter((_, at) => at % most < 7));
    expect(read(cut)).toEqual(whole);
  });

  test("masked tokens are those that are masked at the whole length", async () => {
    const buckets = await textBuckets(train, lengths);
    const make = maskedLm({ maskToken: 4, probability: 0.5 }).labels?.own?.([4, most, 24]) as LabelMaker;
    const made = (data: Dataset) => {
      const { tokens, labels } = labelledTokens(data, make);
      const short = Array.from({ length: size }, (_, i) => i).filter((i) => buckets.bucketOf[i] === 0);
      return [tokens, labels].map(({ shape, fill }) => {
        const values = new Float64Array(short.length * (shape[0] ?? 0));
        fill(short, values, { seed: 1, epoch: 2 });
        return [...values];
      });
    };
    const cut = cutTo(train, buckets, 4, () => true);
    expect(made(cut)).toEqual(made(train).map((numbers) => numbers.filter((_, at) => at % most < 4)));
    expect(made(cut)[0]).toContain(4);
  });
});

describe("a run with buckets computes what one does whose texts are padded to the end, in the same order", () => {
  test.each<[string, () => Model | Promise<Model>, TrainerOptions, Kind, number?]>([
    ["next tokens", () => model, {}, {}],
    [
      "adapters, an average, and gradients of two batches",
      () => model,
      { lora: { rank: 2 }, ema: 0.5, optimizer: accumulate(2, sgd({ momentum: 0.9 })) },
      {},
    ],
    ["half precision", () => model, { precision: "mixed", optimizer: sgd() }, {}, 2 ** -11],
    ["activations computed again", () => model, { recompute: true, checkpointEvery: 1 }, {}],
    ["classes of texts", () => hub("bert"), { objective: crossEntropy() }, { labels: "texts" }],
    [
      "classes of texts, and those of a teacher",
      () => hub("bert"),
      { objective: distillation({ temperature: 2 }), teacher },
      { labels: "texts" },
    ],
    [
      "classes of tokens",
      () => hub("tagger"),
      { objective: crossEntropy({ classAxis: -1, ignoreIndex: -100 }) },
      { labels: "places" },
    ],
    [
      "classes of tokens whose axis the number of labels tells, as the command line does",
      () => hub("tagger"),
      { objective: crossEntropy({ labelPlaces: most, ignoreIndex: -100 }) },
      { labels: "places" },
    ],
    ["labels of next tokens", () => hub("llama"), {}, { labels: "places" }],
    ["embeddings of pairs", () => hub("bert"), { objective: contrastive(), siamese: 2 }, { sequences: 2 }],
  ])("%s", async (_, source, own, kind, closeness = 1e-5) => {
    const of = await source();
    const data = texts("texts", kind);
    const whole = { ...options, ...own, dims: lengthsOf(of, data, { batch: 4, ...own }) };
    const found = await run(of, { ...whole, buckets: lengths }, data, {});
    const reference = await run(of, whole, await inOrderOfBuckets(data), {});
    expect(found.found).toHaveLength(7);
    expect(maxDifference(found.found, reference.found)).toBeLessThan(closeness);
    expect(maxDifference(found.state, reference.state)).toBeLessThan(closeness);
    expect(new Set(found.found).size).toBe(7);
  });
});

describe("a run with buckets", () => {
  test("of one length has the bits of a run without them, and those of its seed otherwise", async () => {
    const plain = await run(model, options, train, { epochs: 2 });
    const one = await run(model, { ...options, buckets: [most] }, train, { epochs: 2 });
    expect(one.found).toEqual(plain.found);
    expect(equalBytes(one.bytes, plain.bytes)).toBe(true);
    const [first, again] = [
      await run(model, inBuckets, train, { epochs: 2 }),
      await run(model, inBuckets, train, { epochs: 2 }),
    ];
    expect(again.found).toEqual(first.found);
    expect(equalBytes(again.bytes, first.bytes)).toBe(true);
    expect(first.found).not.toEqual(plain.found);
  });

  test("goes on in the middle of an epoch, bit for bit, and is validated", async () => {
    const fit = { epochs: 3, validation: 0.2 };
    const whole = await Trainer.create(model, inBuckets);
    const expected = await losses(whole, train, fit);
    const stopped = await Trainer.create(model, inBuckets);
    const controller = new AbortController();
    const before: number[] = [];
    const where = join(folder, "stopped");
    for await (const { event, loss } of stopped.fit(train, {
      ...fit,
      checkpoint: where,
      signal: controller.signal,
    })) {
      if (event !== "step") continue;
      before.push(loss);
      if (before.length === 8) controller.abort();
    }
    await stopped.release();
    const resumed = await Trainer.resume(where);
    expect(resumed.options.buckets).toEqual(lengths);
    expect([...before, ...(await losses(resumed, texts("texts")))]).toEqual(expected);
    expect(equalBytes(resumed.export().bytes, whole.export().bytes)).toBe(true);
    const { loss } = await resumed.evaluate(train);
    await resumed.release();
    // Figures do not depend on buckets.
    const plain = await Trainer.create(model, options);
    plain.takeOver(whole.state());
    expect((await plain.evaluate(train)).loss).toBeCloseTo(loss, 6);
    await plain.release();
    await whole.release();
  });

  test("opens no step for a length that no text has", async () => {
    const trainer = await Trainer.create(model, { ...inBuckets, buckets: [1, 9, most] });
    const found = await losses(trainer, train);
    await trainer.release();
    expect(found).toHaveLength(7);
  });
});

describe("what buckets are refused for", () => {
  const create = (own: TrainerOptions, of = model) => Trainer.create(of, { ...options, ...own });

  test.each<[TrainerOptions, string]>([
    [{ buckets: [] }, "buckets are lengths that ascend, as in 32,64,128, not none"],
    [{ buckets: [8, 4, most] }, "not 8,4,12"],
    [{ buckets: [4, 4, most] }, "not 4,4,12"],
    [{ buckets: [0, most] }, "the length of a bucket must be a whole number"],
    [{ buckets: [4, 7] }, "no free dimension of the model has the length 7 of the last bucket"],
    [{ buckets: lengths, stepsPerRun: 2 }, "leave out stepsPerRun (--steps-per-run)"],
  ])("%j", async (own, words) => {
    await expect(create(own)).rejects.toThrow(words);
  });

  test("a run for several workers", () => {
    expect(() => refuseFunctions({ ...options, buckets: lengths })).toThrow("leave buckets out (--buckets)");
    expect(() => refuseFunctions(options)).not.toThrow();
  });

  test.each<[string, Dataset, string]>([
    [
      "blocks",
      namedDataset({
        name: "blocks",
        inputs: { input_ids: { data: new Int32Array(most * 8), shape: [most] } },
      }),
      "blocks has no attention_mask, so that no text has padding to leave out",
    ],
    ["samples one after another", { ...train, inOrder: true }, "buckets need samples in any order"],
    ["padding on the left", texts("left", { padsLeft: true }), "left is padded on the left"],
  ])("%s", async (_, data, words) => {
    const trainer = await create({ buckets: lengths });
    await expect(losses(trainer, data)).rejects.toThrow(words);
    await trainer.release();
  });
});
