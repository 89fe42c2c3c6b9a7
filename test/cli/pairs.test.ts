import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { zipSync } from "fflate";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Column } from "../../src/data/dataset.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { namedDataset, readModel, responseAngles, sampleFeeds, updateBatchNorm } from "../../src/index.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { npyBytes } from "../data/npy-bytes.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { cli, temporaryFolder } from "./run-cli.ts";

// What a loss of embeddings trains on, `angles` and `verify` measure: each input of a pair or a triplet is a row.

const folder = temporaryFolder();
afterAll(() => folder.remove());
const at = (name: string) => join(folder.path, name);
const samples = 24;
const width = 6;
const numbers = (count: number) => Float32Array.from(randomFloats("pairs", samples * count * width));

const texts = [
  ["a warm day", "warm and kind", "the road"],
  ["the long road", "a road", "warm"],
  ["dull film", "the film is dull", "kind"],
  ["a good day", "good and warm", "bad"],
] as const;

function written(name: string, build: (b: GraphBuilder) => void): void {
  const b = new GraphBuilder(17);
  build(b);
  writeFileSync(at(name), encodeModelProto(graphToProto(b.graph, { irVersion: 8 })));
}

beforeAll(() => {
  written("encoder.onnx", (b) => {
    const h = b.op(
      "Relu",
      [b.op("MatMul", [b.input("x", ["batch", width]), b.weight("w1", [width, 8])], "h")],
      "r",
    );
    b.output(b.op("MatMul", [h, b.weight("w2", [8, 5])], "e"));
  });
  written("tokens.onnx", (b) => {
    const ids = b.input("input_ids", ["batch", "length"], "int64");
    const mask = b.op("Cast", [b.input("attention_mask", ["batch", "length"], "int64")], "m", { to: 1 });
    const states = b.op("Gather", [b.weight("table", [70, 8]), ids], "states");
    const counted = b.op("Mul", [states, b.op("Unsqueeze", [mask, b.int64("last", [2])], "m3")], "counted");
    const mean = b.op("ReduceMean", [counted], "mean", { axes: [1], keepdims: 0 });
    b.output(b.op("MatMul", [mean, b.weight("w", [8, 5])], "sentence_embedding"));
  });
  for (const [name, count] of [
    ["pairs", 2],
    ["triplets", 3],
  ] as const) {
    const data = numbers(count);
    const save = (file: string, shape: readonly number[]) =>
      writeFileSync(at(file), zipSync({ "x.npy": npyBytes({ descr: "<f4", shape, data }) }));
    save(`${name}.npz`, [samples, count, width]);
    save(`${name}-flat.npz`, [samples * count, width]);
  }
  const lines = texts.map(([anchor, positive, negative]) => JSON.stringify({ anchor, positive, negative }));
  writeFileSync(at("triplets.jsonl"), lines.join("\n"));
  const flat = texts.flat().map((text) => JSON.stringify({ text, label: text.length % 2 }));
  writeFileSync(at("flat.jsonl"), flat.join("\n"));
});

const figures = async (...argv: string[]) => {
  const { code, stdout, stderr } = await cli("angles", ...argv, "--json");
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return { found: JSON.parse(stdout), stderr };
};

describe.each([
  ["pairs", 2],
  ["triplets", 3],
])("%s", (name, count) => {
  test("angles measures each of their inputs", async () => {
    const { found, stderr } = await figures(at("encoder.onnx"), "--data", at(`${name}.npz`));
    const rows = samples * count;
    expect(found[0].responses.layers.map((layer: { rows: number }) => layer.rows)).toEqual([rows, rows]);
    const flat = await figures(at("encoder.onnx"), "--data", at(`${name}-flat.npz`));
    expect(found[0].responses).toEqual(flat.found[0].responses);
    expect(stderr).toContain(
      `each sample holds ${count} inputs of the model, which reads them one by one: ${rows} rows of ${samples} samples`,
    );
  });

  test("angles measures those that were drawn, with all their inputs", async () => {
    const { found } = await figures(at("encoder.onnx"), "--data", at(`${name}.npz`), "--samples", "5");
    expect(found[0].responses.layers[0].rows).toBe(5 * count);
  });

  test("verify compares on them, also with a batch of the user's", async () => {
    await cli("inject", at("encoder.onnx"), "-o", at("injected.onnx"), "--force");
    for (const more of [[], ["--batch", "5"]]) {
      const result = await cli("verify", at("injected.onnx"), "--data", at(`${name}.npz`), ...more);
      expect(result).toMatchObject({
        code: 0,
        stderr: expect.stringContaining(`${count} inputs of the model`),
      });
    }
  });

  test("a trained encoder is measured as one before its training, from arrays read once", async () => {
    const loss = name === "pairs" ? "contrastive" : "triplet";
    const flags = ["--objective", loss, "--batch", "8", "--epochs", "1", "--no-report", "--force"];
    const data = ["--data", at(`${name}.npz`)];
    const result = await cli("train", at("encoder.onnx"), ...data, ...flags, "-o", at("trained.onnx"));
    expect(result).toMatchObject({ code: 0 });
    const { found } = await figures(at("encoder.onnx"), at("trained.onnx"), ...data);
    const rows = found.map(
      (one: { responses: { layers: { rows: number }[] } }) => one.responses.layers[0]?.rows,
    );
    expect(rows).toEqual([samples * count, samples * count]);
  });
});

describe.each([2, 4, 5])("a model that fixes its batch at %d", (batch) => {
  const name = `fixed${batch}`;
  beforeAll(async () => {
    written(`${name}.onnx`, (b) => {
      b.output(b.op("MatMul", [b.input("x", [batch, width]), b.weight("w1", [width, 8])], "e"));
    });
    await cli("inject", at(`${name}.onnx`), "-o", at(`${name}.injected.onnx`));
  });

  test.each(["pairs-flat", "pairs", "triplets"])("is verified on as many rows of %s", async (data) => {
    expect(await cli("verify", at(`${name}.injected.onnx`), "--data", at(`${data}.npz`))).toMatchObject({
      code: 0,
    });
  });

  test("refuses another batch with the one to give", async () => {
    const flags = ["--data", at("pairs-flat.npz"), "--batch", "3"];
    expect(await cli("verify", at(`${name}.injected.onnx`), ...flags)).toMatchObject({
      ...{
        code: 1,
        stderr: expect.stringContaining(`the model fixes its batch size at ${batch}: use --batch ${batch}`),
      },
    });
  });
});

describe("texts in columns called anchor, positive and negative", () => {
  const tokenizer = ["--tokenizer", "test/fixtures/text/word-pieces"];

  test("are measured one by one, without a loss that says so", async () => {
    const { found, stderr } = await figures(at("tokens.onnx"), "--data", at("triplets.jsonl"), ...tokenizer);
    expect(stderr).toContain("texts from anchor, positive, negative");
    const flat = await figures(at("tokens.onnx"), "--data", at("flat.jsonl"), ...tokenizer);
    expect(found[0].responses).toEqual(flat.found[0].responses);
    await cli("inject", at("tokens.onnx"), "-o", at("tokens.injected.onnx"), "--dim", "length=8");
    const verified = ["--data", at("triplets.jsonl"), ...tokenizer];
    expect(await cli("verify", at("tokens.injected.onnx"), ...verified)).toMatchObject({ code: 0 });
  });

  test("are read once for a base and what was trained from it", async () => {
    const data = ["--data", at("triplets.jsonl"), ...tokenizer];
    const flags = ["--objective", "triplet", "--batch", "2", "--epochs", "1", "--no-report"];
    const trained = await cli("train", at("tokens.onnx"), ...data, ...flags, "-o", at("tokens.trained.onnx"));
    expect(trained).toMatchObject({ code: 0 });
    const { found, stderr } = await figures(at("tokens.onnx"), at("tokens.trained.onnx"), ...data);
    expect(stderr.split("texts from anchor")).toHaveLength(2);
    expect(found[1].responses.layers[0].rows).toBe(texts.length * 3);
  });
});

test("the images of a folder are decoded once for two models", async () => {
  for (const [c, name] of ["cat", "dog"].entries()) {
    mkdirSync(at(`pets/${name}`), { recursive: true });
    for (let i = 0; i < 3; i++) {
      const create = {
        width: 4,
        height: 4,
        channels: 3 as const,
        background: { r: 60 * i, g: 90 * c, b: 20 },
      };
      await sharp({ create })
        .png()
        .toFile(at(`pets/${name}/${i}.png`));
    }
  }
  for (const name of ["one.onnx", "other.onnx"]) {
    written(name, (b) => {
      const flat = b.op("Flatten", [b.input("x", ["N", 3, 4, 4])], "flat");
      b.output(b.op("MatMul", [flat, b.weight(name, [48, 3])], "y"));
    });
  }
  const { imageDataset } = await import("../../src/data/images/image-dataset-node.ts");
  const { remembered } = await import("../../src/data/remembered.ts");
  const shape = [3, 4, 4];
  const images = [0, 1, 2].map((i) => ({ name: `${i}`, content: at(`pets/cat/${i}.png`), label: 0 }));
  const dataset = imageDataset({
    ...{ name: "pets", images, input: "x", augment: undefined, classes: 1, fingerprint: "", named: false },
    conversion: { shape, channelsLast: false, fit: "crop" },
  });
  let reads = 0;
  const column = dataset.inputs?.get("x");
  if (!column) throw new Error("no column");
  const counting: Column = {
    ...column,
    fill(...args) {
      reads += 1;
      return column.fill(...args);
    },
  };
  const once = remembered({ ...dataset, inputs: new Map([["x", counting]]) });
  const [a, b] = [await readModel(at("one.onnx")), await readModel(at("other.onnx"))];
  const first = await sampleFeeds(a, once, 3);
  expect([reads, (await sampleFeeds(b, once, 3)).get("x")?.data]).toEqual([1, first.get("x")?.data]);
  // Two models from the command line give what each gives alone.
  const both = await figures(at("one.onnx"), at("other.onnx"), "--data", at("pets"));
  for (const [i, name] of ["one.onnx", "other.onnx"].entries()) {
    const { found } = await figures(at(name), "--data", at("pets"));
    expect(both.found[i].responses).toEqual(found[0].responses);
  }
});

describe("in the library", () => {
  const dataset = namedDataset({
    inputs: { x: { data: numbers(2), shape: [2, width] } },
    labels: { data: Int32Array.from({ length: samples }, (_, i) => i % 2) },
  });

  test("sampleFeeds gives the inputs of each sample one after another", async () => {
    const model = await readModel(at("encoder.onnx"));
    const said: string[] = [];
    const feeds = await sampleFeeds(model, dataset, 3, { onMessage: (text) => said.push(text) });
    expect([feeds.get("x")?.dims, feeds.get("x")?.data]).toEqual([
      [6, width],
      numbers(2).subarray(0, 6 * width),
    ]);
    expect(said).toHaveLength(1);
    const { layers } = await responseAngles(model, feeds);
    expect(layers[0]?.rows).toBe(6);
  });

  test("what fits no input is refused as before", async () => {
    const model = await readModel(at("encoder.onnx"));
    const other = namedDataset({ inputs: { x: { data: numbers(2), shape: [2, 3, 2] } } });
    await expect(sampleFeeds(model, other, 3)).rejects.toThrow("samples have shape [2, 3, 2]");
  });

  test("the statistics of BatchNorm are those of batches of pairs", async () => {
    written("norm.onnx", (b) => {
      const stored = ["scale", "bias", "mean", "variance"].map((name) => b.weight(name, [8]));
      const h = b.op("MatMul", [b.input("x", ["batch", width]), b.weight("w1", [width, 8])], "h");
      b.output(b.op("BatchNormalization", [h, ...stored], "e"));
    });
    const model = await readModel(at("norm.onnx"));
    const flat = namedDataset({ inputs: { x: { data: numbers(2), shape: [width] } } });
    // One batch of all: the order of the rows does not matter.
    const options = { batch: samples };
    const ofPairs = await updateBatchNorm(model, dataset, options);
    const ofRows = await updateBatchNorm(model, flat, { batch: 2 * samples });
    const meanOf = (one: typeof model) =>
      one.proto.graph?.initializer?.find(({ name }) => name === "mean")?.rawData ?? new Uint8Array();
    const [pairs, rows] = [ofPairs, ofRows].map((one) => new Float32Array(meanOf(one).slice().buffer));
    expect(pairs).not.toEqual(new Float32Array(meanOf(model).slice().buffer));
    pairs?.forEach((value, i) => {
      expect(value).toBeCloseTo(rows?.[i] ?? Number.NaN, 5);
    });
  });
});
