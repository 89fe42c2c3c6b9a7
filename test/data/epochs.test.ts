import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { epochOrder, stepsPerEpoch } from "../../src/data/batches.ts";
import {
  type Dataset,
  generatorDataset,
  loadData,
  readModel,
  Trainer,
  type TrainingPass,
} from "../../src/index.ts";
import { crossEntropy, huber, klDivergence, type Objective } from "../../src/losses/public.ts";
import { elementCount } from "../../src/onnx/tensor.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";
import { clouds, losses, network, plain } from "../runtime/small-run.ts";

const fixtures = "test/fixtures";
const folder = mkdtempSync(join(tmpdir(), "sorth-epochs-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const image = readModel(`${fixtures}/data/image.onnx`);
const trained = async (path: string, options = {}) => (await loadData(path, options)).train;
const generated = () =>
  generatorDataset(
    async function* () {
      for (let i = 0; i < 11; i++) yield { x: [i, i * i], y: i % 3 };
    },
    { size: 11, classes: 3 },
  );

/** One sample after another: its data and labels as text. */
async function samplesAt(dataset: Dataset, indices: Uint32Array, pass?: TrainingPass): Promise<string[]> {
  const [main] = [...(dataset.inputs?.values() ?? [])];
  const shape = main?.shape ?? dataset.x.shape;
  const x = new Float64Array(indices.length * elementCount(shape));
  const y = new Float64Array(indices.length * elementCount(dataset.y.shape));
  await dataset.fill(indices, x, y, pass);
  const rows = (of: Float64Array, i: number) => {
    const width = of.length / indices.length;
    return of.subarray(i * width, (i + 1) * width).join();
  };
  return Array.from(indices, (_, i) => `${rows(x, i)} ${rows(y, i)}`);
}

describe("an epoch of training visits each sample at most once, in one order for every kind of data", () => {
  test.each<[string, () => Promise<Dataset> | Dataset]>([
    ["arrays", () => clouds("arrays", 11)],
    ["folder of images", async () => trained(`${fixtures}/data/pictures`, { model: await image })],
    ["Parquet of images", async () => trained(`${fixtures}/data/pictures.parquet`, { model: await image })],
    ["CSV", () => trained(`${fixtures}/data/flowers.csv`)],
    ["Parquet", () => trained(`${fixtures}/data/flowers-zstd.parquet`)],
    [
      "texts",
      () => {
        const words = ["one red cat", "two red cats", "three dogs", "four birds sing", "five"];
        const path = join(folder, "texts.jsonl");
        writeFileSync(path, words.map((text, label) => JSON.stringify({ text, label })).join("\n"));
        return trained(path, { tokenizer: `${fixtures}/text/word-pieces`, length: 6 });
      },
    ],
    ["generator", generated],
  ])("%s", async (kind, made) => {
    const dataset = await made();
    const { size } = dataset;
    const batch = 4;
    const whole = await samplesAt(
      dataset,
      Uint32Array.from({ length: size }, (_, i) => i),
    );
    for (const epoch of [0, 1]) {
      const order = epochOrder(dataset, 3, epoch);
      expect([...order].sort((a, b) => a - b)).toEqual(Array.from(whole.keys()));
      const asked = Array.from({ length: stepsPerEpoch(dataset, batch) }, (_, i) =>
        samplesAt(dataset, order.subarray(i * batch, (i + 1) * batch), { seed: 3, epoch }),
      );
      const seen = (await Promise.all(asked)).flat();
      expect(seen).toEqual(Array.from(order.subarray(0, size - (size % batch)), (at) => whole[at]));
      if (kind === "generator") expect([...order]).toEqual(Array.from(whole.keys()));
    }
  });

  test.each([false, true])("a run asks for them in that order (in order: %s)", async (inOrder) => {
    const arrays = clouds("asked", 27);
    const asked = new Map<number | undefined, number[]>();
    const { name, size, x, y } = arrays;
    const dataset: Dataset = {
      ...{ name, size, x, y, inOrder },
      fill: (indices, ...to) => {
        const { epoch } = to[2] ?? {};
        asked.set(epoch, [...(asked.get(epoch) ?? []), ...Array.from(indices)]);
        return arrays.fill(indices, ...to);
      },
    };
    const trainer = await Trainer.create(network(), { ...plain, seed: 3, stepsPerRun: 2 });
    asked.clear();
    await losses(trainer, dataset, { epochs: 2 });
    for (const epoch of [0, 1]) {
      expect(asked.get(epoch)).toEqual([...epochOrder(dataset, 3, epoch).subarray(0, 24)]);
    }
    asked.clear();
    await trainer.evaluate(dataset);
    expect(asked.get(undefined)).toEqual([...Array.from({ length: 27 }, (_, i) => i), 26, 26, 26, 26, 26]);
    await trainer.release();
  });
});

describe("a batch that is filled up counts as the samples in it", () => {
  const [rows, batch, classes] = [11, 4, 3];
  const scores = randomFloats("epochs scores", rows * classes);
  const labels = Int32Array.from(randomInts("epochs labels", rows, 0, classes));
  const shares = Float32Array.from({ length: rows * classes }, (_, i) => [0.2, 0.3, 0.5][i % 3] ?? 0);

  test.each<[string, Objective, ArrayLike<number>, boolean]>([
    ["cross-entropy", crossEntropy(), labels, false],
    ["class weights", crossEntropy({ classWeights: [1, 0.2, 5], labelSmoothing: 0.1 }), labels, false],
    ["ignore index", crossEntropy({ ignoreIndex: 1 }), labels, false],
    ["a mask", crossEntropy({ classWeights: [1, 0.2, 5] }), labels, true],
    ["kl-divergence", klDivergence(), shares, false],
    ["huber", huber(), shares, true],
  ])("%s", (_, objective, wanted, isMasked) => {
    const width = wanted.length / rows;
    // Losses of single numbers mask numbers, those of classes mask samples.
    const mask = Int32Array.from({ length: rows * width }, (_, i) => Number(i % 3 > 0));
    /** The sums over some rows, with rows behind them that do not count. */
    const over = (first: number, count: number, size: number) => {
      const part = (of: ArrayLike<number>, each: number) => [
        ...Array.from(of).slice(first * each, (first + count) * each),
        ...new Array<number>((size - count) * each).fill(1),
      ];
      const masked = isMasked ? part(mask, width) : undefined;
      const shape = [size, classes];
      return objective.evaluate(part(scores, classes), part(wanted, width), count, shape, masked);
    };
    const all = over(0, rows, rows);
    const parts = [0, 4, 8].map((first) => over(first, Math.min(batch, rows - first), batch));
    const sum = (of: (one: (typeof parts)[number]) => number) =>
      parts.reduce((total, one) => total + of(one), 0);
    expect(sum(({ loss }) => loss)).toBeCloseTo(all.loss, 12);
    // The mean divides by the first of these that a loss gives.
    const divisors = [...parts, all].map((one, i) => one.weight ?? one.counted ?? [4, 4, 3, 11][i] ?? 0);
    expect((divisors[0] ?? 0) + (divisors[1] ?? 0) + (divisors[2] ?? 0)).toBeCloseTo(divisors[3] ?? 0, 12);
  });

  test("in a run: batches of 8 and of 27 give the same loss", async () => {
    const held = clouds("held", 27);
    const objective = crossEntropy({ classWeights: [1, 0.2, 5] });
    const [eight, all] = await Promise.all(
      [8, 27].map(async (size) =>
        (await Trainer.create(network(), { ...plain, objective, batch: size })).evaluate(held),
      ),
    );
    expect(eight?.loss).toBeCloseTo(all?.loss ?? Number.NaN, 6);
    expect(eight?.accuracy).toBe(all?.accuracy);
  });
});
