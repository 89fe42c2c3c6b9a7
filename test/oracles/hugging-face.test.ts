import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { objectiveFor } from "../../src/data/labels.ts";
import {
  crossEntropy,
  loadData,
  namedDataset,
  type Objective,
  readModel,
  Trainer,
  type TrainerOptions,
} from "../../src/index.ts";
import { causalLm, maskedLm } from "../../src/losses/public.ts";
import { adafactor, adamw, chain, clipByGlobalNorm, lion, sgd } from "../../src/optimizers/public.ts";
import { maxDifference } from "../helpers/numbers.ts";

/** Losses of transformers' Trainer; written by scripts/oracles/hugging_face.py. */
const folder = "test/fixtures/hugging-face";
const runs = JSON.parse(readFileSync(`${folder}/runs.json`, "utf8")) as Readonly<
  Record<string, { readonly losses: readonly number[] }>
>;

interface Case {
  readonly data: string;
  readonly objective: Objective;
  readonly options: Partial<TrainerOptions>;
}

const clipped = (norm: number) => chain(clipByGlobalNorm(norm), adamw({ weightDecay: 0.1 }));
const cases: Readonly<Record<string, Case>> = {
  bert: {
    data: "reviews.parquet",
    objective: crossEntropy({ labelSmoothing: 0.1 }),
    options: { optimizer: clipped(1), noDecay: true, schedule: "linear:warmup=3,warmup-start=0" },
  },
  tagger: {
    data: "tags.parquet",
    objective: crossEntropy(),
    options: { optimizer: clipped(0.5), noDecay: true, schedule: "cosine" },
  },
  llama: {
    data: "story.parquet",
    objective: causalLm(),
    options: { optimizer: sgd({ momentum: 0.9 }) },
  },
  vit: {
    data: "pets.parquet",
    objective: crossEntropy(),
    options: {
      ...{ optimizer: clipped(1), noDecay: true, schedule: "inverse-sqrt:warmup=2,warmup-start=0" },
      normalize: { mean: [0.5], std: [0.5] },
    },
  },
};

test.each(Object.entries(cases))(
  "%s: the losses of transformers' Trainer",
  async (name, { data, objective, options }) => {
    const model = await readModel(`${folder}/${name}.onnx`);
    const { train } = await loadData(`${folder}/${data}`, { model });
    const dims = { sequence: 7 };
    // As the command line fits a loss to its labels: classes on the last axis, −100 left out.
    const fitted = objectiveFor(objective, train).objective;
    const common = {
      objective: fitted,
      batch: 4,
      learningRate: 5e-3,
      stepsPerRun: 4,
      ...(name !== "vit" && { dims }),
    };
    const trainer = await Trainer.create(model, { ...common, ...options });
    const found: number[] = [];
    for await (const event of trainer.fit({ ...train, inOrder: true }, { epochs: 3 })) {
      if (event.event === "step") found.push(event.loss);
    }
    await trainer.release();
    expect(found).toHaveLength(12);
    expect(maxDifference(found, runs[name]?.losses ?? [])).toBeLessThan(1e-5);
  },
);

/** Losses of torch's Adafactor, of Lion in numpy, and of masked tokens; written by scripts/oracles/token_runs.py. */
const tokenRuns = JSON.parse(readFileSync(`${folder}/token-runs.json`, "utf8")) as {
  readonly data: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
} & Readonly<Record<string, readonly number[]>>;

test.each([
  ["adafactor", "tagger", "tagged", { optimizer: adafactor({ weightDecay: 0 }), learningRate: 1e-2 }],
  ["lion", "tagger", "tagged", { optimizer: lion({ weightDecay: 0.1 }), learningRate: 1e-3 }],
  ["masked", "llama", "hidden", { objective: maskedLm(), optimizer: adamw(), learningRate: 5e-3 }],
] as const)("%s: the losses of PyTorch on tokens", async (name, network, source, options) => {
  const columns = Object.entries(tokenRuns.data[source] ?? {});
  const arrays = columns.map(([key, data]) => [key, { data: Int32Array.from(data), shape: [7] }] as const);
  const { labels, ...inputs } = Object.fromEntries(arrays);
  const data = namedDataset({ inputs, ...(labels && { labels }) });
  const common = { objective: crossEntropy({ classAxis: -1, ignoreIndex: -100 }), batch: 4, stepsPerRun: 4 };
  const trainer = await Trainer.create(await readModel(`${folder}/${network}.onnx`), {
    ...{ ...common, dims: { sequence: 7 } },
    ...options,
  });
  const found: number[] = [];
  for await (const event of trainer.fit({ ...data, inOrder: true }, { epochs: 6 })) {
    if (event.event === "step") found.push(event.loss);
  }
  await trainer.release();
  expect(found).toHaveLength(12);
  expect(maxDifference(found, tokenRuns[name] ?? [])).toBeLessThan(1e-5);
});
