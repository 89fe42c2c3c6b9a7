import { describe, expect, test } from "vitest";
import { namedDataset } from "../../src/data/array-dataset.ts";
import { evaluateModel, type Model, type Objective, Trainer } from "../../src/index.ts";
import { causalLm, maskedLm } from "../../src/losses/public.ts";
import { maxDifference } from "../helpers/numbers.ts";
import { fixture, modelFixture } from "../oracles/references.ts";
import { losses } from "./small-run.ts";

type Rows = readonly (readonly number[])[];

const torch = fixture<{
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
