import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { namedDataset } from "../../src/data/array-dataset.ts";
import type { Column, TrainingPass } from "../../src/data/dataset.ts";
import { labelledTokens } from "../../src/data/token-columns.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import {
  type Dataset,
  type EndEvent,
  evaluateModel,
  type Model,
  type Objective,
  predict,
  sampleFeeds,
  sgd,
  Trainer,
} from "../../src/index.ts";
import { causalLm, type LabelMaker, maskedLm } from "../../src/losses/public.ts";
import { labels as tokensOfBlock } from "../helpers/lcg.ts";
import { maxDifference, randomInts } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { fixture, modelFixture } from "../oracles/references.ts";
import { losses } from "./small-run.ts";

type Rows = readonly (readonly number[])[];

const torch = fixture<{
  readonly tokens: number;
  readonly rate: number;
  readonly input_ids: Rows;
  readonly attention_mask: Rows;
  readonly masked_ids: Rows;
  readonly masked_labels: Rows;
  readonly prompt_labels: Rows;
  readonly causal: readonly number[];
  readonly prompt: readonly number[];
  readonly masked: readonly number[];
}>("language/language.json");

/** A decoder with a cache as optimum exports it. */
const decoder: Model = modelFixture("language/decoder.onnx");
const samples = torch.input_ids.length;
const known = torch.tokens;
const places = torch.input_ids[0]?.length ?? 0;

const array = (rows: Rows) => ({ data: Int32Array.from(rows.flat()), shape: [places] });
const tokens = (ids: Rows, labels?: Rows) =>
  namedDataset({
    inputs: { input_ids: array(ids), attention_mask: array(torch.attention_mask) },
    ...(labels && { labels: array(labels) }),
  });

const options = (objective: Objective) => ({
  ...{ objective, batch: samples, dims: { sequence_length: places }, threads: 1 },
  learningRate: torch.rate,
});

describe("50 steps as in PyTorch", () => {
  test.each([
    ["next tokens, padding left out", causalLm(), tokens(torch.input_ids), torch.causal],
    ["labels of a prompt left out", causalLm(), tokens(torch.input_ids, torch.prompt_labels), torch.prompt],
    ["masked tokens", maskedLm(), tokens(torch.masked_ids, torch.masked_labels), torch.masked],
  ] as const)("%s", async (_, objective, data, expected) => {
    const { loss, perplexity } = await evaluateModel(decoder, data, { objective });
    expect(loss).toBeCloseTo(expected[0] as number, 6);
    expect(perplexity).toBeCloseTo(Math.exp(loss), 9);
    const trainer = await Trainer.create(decoder, options(objective));
    const found = await losses(trainer, data, { epochs: expected.length });
    expect(maxDifference(found, expected)).toBeLessThan(2e-4);
    await trainer.release();
  });
});

describe("a decoder with a cache", () => {
  test("is trained with a cache of length 0, whether the user says so or not, and keeps its inputs and outputs", async () => {
    const own = options(causalLm());
    const run = async (dims: Record<string, number>) => {
      const trainer = await Trainer.create(decoder, { ...own, dims: { ...own.dims, ...dims } });
      const found = await losses(trainer, tokens(torch.input_ids), { epochs: 2 });
      const names = trainer.step.ports.inputs.map(({ name }) => name);
      const exported = graphOf(trainer.export());
      await trainer.release();
      return { found, names, exported };
    };
    const { found, names, exported } = await run({});
    expect(names).toEqual(["input_ids", "attention_mask", "position_ids"]);
    expect((await run({ past_sequence_length: 0 })).found).toEqual(found);
    const before = graphOf(decoder);
    for (const kind of ["inputs", "outputs"] as const) {
      expect(exported[kind].map(({ name, declared }) => [name, declared])).toEqual(
        before[kind].map(({ name, declared }) => [name, declared]),
      );
    }
    expect(exported.inputs.map(({ name }) => name)).toContain("past_key_values.1.value");
    await expect(run({ sequence_length: 0 })).rejects.toThrow('"sequence_length" must be a whole number');
  });

  test("gets what data leave out: attention 1, places, and former keys of length 0", async () => {
    const ids = namedDataset({ inputs: { input_ids: array(torch.input_ids) } });
    const feeds = await sampleFeeds(decoder, ids, 2);
    expect(feeds.get("attention_mask")?.numbers()).toEqual(new Array(2 * places).fill(1));
    expect(feeds.get("position_ids")?.numbers()).toEqual([0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6]);
    expect(feeds.get("past_key_values.0.key")?.dims).toEqual([2, 2, 0, 4]);
    const masked = await sampleFeeds(decoder, tokens(torch.input_ids), 2);
    expect(masked.get("position_ids")?.numbers().slice(places)).toEqual([0, 1, 2, 3, 4, 1, 1]);
  });

  test("says which token comes next, behind padding too", async () => {
    const found = [];
    for await (const one of predict(decoder, tokens(torch.input_ids), { objective: causalLm() }))
      found.push(one);
    const { logits } = await runModel(
      decoder.bytes,
      Object.fromEntries(await sampleFeeds(decoder, tokens(torch.input_ids), samples)),
    );
    const scores = logits?.numbers() ?? [];
    for (const { sample, answer } of found) {
      const last = (torch.attention_mask[sample] ?? []).lastIndexOf(1);
      const own = scores.slice((sample * places + last) * known, (sample * places + last + 1) * known);
      expect(answer).toBe(own.indexOf(Math.max(...own)));
    }
  });
});

describe("masking", () => {
  const count = 4000;
  const many = namedDataset({
    inputs: {
      input_ids: { data: Int32Array.from(randomInts("tokens", count * 20, 0, 50)), shape: [20] },
      attention_mask: {
        data: Uint8Array.from({ length: count * 20 }, (_, i) => (i % 20 < 18 ? 1 : 0)),
        shape: [20],
      },
    },
  });
  const make = maskedLm({ maskToken: 7, specialTokens: [0, 1] }).labels.own?.([1, 20, 50]) as LabelMaker;
  const columns = labelledTokens(many, make);
  const read = (column: Pick<Column, "fill">, pass?: TrainingPass) => {
    const values = new Float64Array(count * 20);
    column.fill(
      Uint32Array.from({ length: count }, (_, i) => i),
      values,
      pass,
    );
    return values;
  };
  const original = read(many.inputs?.get("input_ids") as Column);

  test("takes 15 % of the tokens, of which 80 % become the mask token and 10 % another one", () => {
    const [now, labels] = [
      read(columns.tokens, { seed: 3, epoch: 1 }),
      read(columns.labels, { seed: 3, epoch: 1 }),
    ];
    let [chosen, masked, kept, open] = [0, 0, 0, 0];
    for (const [at, token] of original.entries()) {
      const free = at % 20 < 18 && token > 1;
      if (free) open += 1;
      if (labels[at] === -100) expect(now[at]).toBe(token);
      else {
        expect(free && labels[at] === token).toBe(true);
        chosen += 1;
        if (now[at] === 7 && token !== 7) masked += 1;
        if (now[at] === token) kept += 1;
      }
    }
    expect(chosen / open).toBeCloseTo(0.15, 2);
    // A twelfth of a percent of the changed tokens are the mask token by chance, two percent of the random ones the same.
    expect(masked / chosen).toBeGreaterThan(0.76);
    expect(masked / chosen).toBeLessThan(0.82);
    expect(kept / chosen).toBeGreaterThan(0.1);
    expect(kept / chosen).toBeLessThan(0.14);
  });

  test("depends on seed, epoch and sample while training, and always is the same in an evaluation", () => {
    const first = read(columns.labels, { seed: 3, epoch: 1 });
    expect(read(columns.labels, { seed: 3, epoch: 1 })).toEqual(first);
    expect(read(columns.labels, { seed: 3, epoch: 2 })).not.toEqual(first);
    expect(read(columns.labels, { seed: 4, epoch: 1 })).not.toEqual(first);
    expect(read(columns.labels)).toEqual(read(columns.labels));
  });

  test("goes on bit for bit after a stop, and the epochs report perplexity", async () => {
    const own = {
      ...options(maskedLm({ maskToken: 1, probability: 0.4, labelSmoothing: 0.1 })),
      batch: 2,
      seed: 9,
    };
    const fit = { epochs: 4, validation: 0.34 };
    const data = tokens(torch.input_ids);
    const whole = await Trainer.create(decoder, own);
    const events = [];
    for await (const event of whole.fit(data, fit)) events.push(event);
    const steps = events.flatMap(({ event, loss }) => (event === "step" ? [loss] : []));
    const last = events.at(-1) as EndEvent;
    expect(last.validation?.perplexity).toBe(Math.exp(last.validation?.loss ?? Number.NaN));
    const folder = await mkdtemp(join(tmpdir(), "sorth-language-"));
    try {
      const stopped = await Trainer.create(decoder, own);
      const before = await losses(stopped, data, { ...fit, maxSteps: 3, checkpoint: folder });
      const resumed = await Trainer.resume(folder);
      expect((resumed.options.objective as Objective).options).toEqual(own.objective.options);
      const after = await losses(resumed, data, { epochs: fit.epochs });
      expect([...before, ...after]).toEqual(steps);
      expect(resumed.state()).toEqual(whole.state());
      for (const trainer of [whole, stopped, resumed]) await trainer.release();
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

test.each<[string, Objective, Dataset, string]>([
  ["masks without a mask token", maskedLm(), tokens(torch.input_ids), "masked-lm:mask-token=103"],
  [
    "labels of another shape",
    causalLm(),
    namedDataset({
      inputs: { input_ids: array(torch.input_ids) },
      labels: { data: new Int32Array(samples) },
    }),
    "labels of one sample",
  ],
])("refuses %s", async (_, objective, data, message) => {
  await expect(evaluateModel(decoder, data, { objective })).rejects.toThrow(message);
});

test("refuses tokens that the model does not know, before it trains", async () => {
  const trainer = await Trainer.create(decoder, options(causalLm()));
  const data = tokens([[1, 2, 3, 4, 5, 6, known], ...torch.input_ids.slice(1)]);
  await expect(losses(trainer, data)).rejects.toThrow("the token 12, but the model has scores for 12 tokens");
  await trainer.release();
});

test("torch's export of a decoder in opset 23 (Attention, RMSNormalization): 20 steps as in PyTorch", async () => {
  const { rate, losses: expected } = fixture<{ readonly rate: number; readonly losses: readonly number[] }>(
    "language/opset23.json",
  );
  const model = modelFixture("language/opset23.onnx");
  const ids = Int32Array.from(tokensOfBlock("opset23.tokens", 4 * 6, 12));
  const data = namedDataset({ inputs: { input_ids: { data: ids, shape: [6] } } });
  const options = { objective: causalLm(), optimizer: sgd(), batch: 4, learningRate: rate, threads: 1 };
  const trainer = await Trainer.create(model, options);
  const found = await losses(trainer, data, { epochs: expected.length });
  expect(maxDifference(found, expected)).toBeLessThan(2e-6);
  await trainer.release();
});
