import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, expect, test } from "vitest";
import { wantedInputs } from "../../src/data/model-inputs.ts";
import {
  conversionOf,
  type Dataset,
  evaluateModel,
  loadData,
  type Model,
  readModel,
  withConversion,
} from "../../src/index.ts";
import { causalLm } from "../../src/losses/public.ts";
import { cli, temporaryFolder } from "../cli/run-cli.ts";
import { builtModel, GraphBuilder } from "../helpers/build-graph.ts";

// scripts/oracles/hugging_face.py wrote the models and the Parquet files.
const fixtures = "test/fixtures/hugging-face";
const folder = temporaryFolder();
afterAll(() => folder.remove());

function written(name: string, rows: readonly object[]): string {
  const path = `${folder.path}/${name}`;
  writeFileSync(path, rows.map((row) => JSON.stringify(row)).join("\n"));
  return path;
}

const models = new Map<string, Promise<Model>>();
const modelNamed = (name: string): Promise<Model> => {
  const model = models.get(name) ?? readModel(`${fixtures}/${name}.onnx`);
  models.set(name, model);
  return model;
};

/** Every number of a dataset, by array; the labels are `y`. */
async function numbers({ inputs, labels, size }: Dataset): Promise<Record<string, readonly number[]>> {
  const rows = Array.from({ length: size }, (_, i) => i);
  const all = [...(inputs?.values() ?? []), ...(labels ? [{ ...labels, name: "y" }] : [])];
  const read = all.map(async ({ name, shape, fill }) => {
    const values = new Float64Array(size * (shape[0] ?? 1));
    await fill(rows, values);
    return [name, [...values]] as const;
  });
  return Object.fromEntries(await Promise.all(read));
}

const rows = [
  { input_ids: [5, 6, 7], attention_mask: [1, 1, 1], labels: [-100, 0, 1], text: ["a", "b"] },
  { input_ids: [8, 9], attention_mask: [1, 1], labels: [-100, 2], text: ["c"] },
];

test("lists of tokens are filled up, and columns that the model does not take are not read", async () => {
  const model = await modelNamed("tagger");
  const data = await loadData(written("tags.jsonl", rows), { model });
  expect(await numbers(data.train)).toEqual({
    input_ids: [5, 6, 7, 8, 9, 0],
    attention_mask: [1, 1, 1, 1, 1, 0],
    y: [-100, 0, 1, -100, 2, -100],
  });
  expect(data.remarks?.[0]).toContain("3 tokens: shorter lists are filled up; not fed: text");
  // Others are cut or filled up to the length of the run.
  const trained = withConversion(model, data.conversion ?? { version: 1 });
  const conversion = conversionOf(trained);
  const longer = written("longer.jsonl", [
    { ...rows[0], input_ids: [1, 2, 3, 4], attention_mask: [1, 1, 1, 1], labels: [0, 1, 2, 0] },
  ]);
  await expect(loadData(longer, { model, conversion })).rejects.toThrow(
    'row 1 (line 1), column "input_ids" holds [1,2,3,4] where a list of at most 3 numbers (--length 4 has room for it, a smaller one cuts) is expected',
  );
  expect(await numbers((await loadData(longer, { model, conversion, length: 2 })).train)).toEqual({
    ...{ input_ids: [1, 2], attention_mask: [1, 1], y: [0, 1] },
  });
  expect(
    (await loadData(written("one.jsonl", rows.slice(0, 1)), { model, length: 5 })).train.y.shape,
  ).toEqual([5]);
});

test("an attention mask that the data lack is made of the lengths", async () => {
  const model = await modelNamed("llama");
  const { train } = await loadData(
    written(
      "story.jsonl",
      rows.map(({ input_ids }) => ({ input_ids })),
    ),
    { model },
  );
  expect(await numbers(train)).toEqual({
    ...{ input_ids: [5, 6, 7, 8, 9, 0], attention_mask: [1, 1, 1, 1, 1, 0] },
  });
});

test.each([
  [
    "labels",
    [{ ...rows[0], labels: [0, 1] }, rows[1], { ...rows[0] }],
    'column "labels" holds [0,1] where a label for each of its 3 tokens is expected',
  ],
  ["lists of lists", [{ ...rows[0], input_ids: [[1, 2], [3]] }], "lists in it are of one length"],
  [
    "other lists",
    [
      { ...rows[0], labels: [1, 2, 3, 4] },
      { ...rows[1], labels: [1] },
    ],
    'row 2 (line 2), column "labels" holds a list of 1 numbers, unlike the rows before',
  ],
])("%s that do not fit are refused", async (name, given, words) => {
  const path = written(`${name.replaceAll(" ", "-")}.jsonl`, given as object[]);
  await expect(loadData(path, { model: await modelNamed("tagger") })).rejects.toThrow(words);
});

test("names of classes that datasets record are those of a table, too, and rows of Parquet count from 1 beside their index", async () => {
  const model = await modelNamed("bert");
  const { train, conversion, remarks } = await loadData(`${fixtures}/reviews.parquet`, { model });
  expect(conversion?.classes).toEqual(["bad", "fair", "good"]);
  expect([train.size, train.y.classes, train.inputs?.get("input_ids")?.shape]).toEqual([16, 3, [7]]);
  expect(remarks?.[0]).toContain("not fed: idx");
  const short = { ...conversion, version: 1 as const };
  const table = short.table && JSON.parse(JSON.stringify(short.table).replaceAll('"length":7', '"length":4'));
  await expect(
    loadData(`${fixtures}/reviews.parquet`, { model, conversion: { ...short, table } }),
  ).rejects.toThrow('row 1 (index 0), column "input_ids" holds [');
});

test("a dataset's folder of the Hub has its parts, each in one file or several; Arrow files are refused", async () => {
  const model = await modelNamed("bert");
  const hub = `${folder.path}/hub`;
  mkdirSync(`${hub}/data`, { recursive: true });
  const put = (name: string) => copyFileSync(`${fixtures}/reviews.parquet`, `${hub}/data/${name}.parquet`);
  for (const name of [
    "train-00001-of-00003-0a1b",
    "train-00000-of-00003-ff00",
    "validation-00000-of-00001",
  ]) {
    put(name);
  }
  await expect(loadData(hub, { model })).rejects.toThrow(
    'hub: train-00002-of-00003 of the part "train" is missing: put it there too',
  );
  put("train-00002-of-00003-77aa");
  const { train, validation, remarks } = await loadData(hub, { model });
  expect([train.size, validation?.size]).toEqual([48, 16]);
  expect(remarks?.[0]).toContain("train-*-of-00003");
  put("train-00001-of-00002");
  await expect(loadData(hub, { model })).rejects.toThrow(
    "these files divide one part in two ways, leave one: train-00000-of-00003-ff00.parquet, ",
  );
  const disk = `${folder.path}/disk`;
  mkdirSync(disk);
  writeFileSync(`${disk}/dataset_info.json`, "{}");
  await expect(loadData(disk, { model })).rejects.toThrow("datasets' save_to_disk wrote this folder");
});

test("several files of one table follow one another in the order of their numbers, or as they are listed", async () => {
  const parts = `${folder.path}/parts`;
  mkdirSync(parts);
  // Columns in another order, classes that only one file has, and names that do not sort as they were written.
  const first = [
    { a: 1, b: 2, label: "yes" },
    { a: 3, b: 4, label: "no" },
  ];
  const second = [{ label: "maybe", b: 6, a: 5 }];
  const put = (name: string, given: readonly object[]) =>
    writeFileSync(`${parts}/${name}`, given.map((row) => `${JSON.stringify(row)}\n`).join(""));
  put("train-00001-of-00002.jsonl", second);
  put("train-00000-of-00002.jsonl", first);
  const [x, y] = [new Float32Array(6), new Int32Array(3)];
  const { train, conversion } = await loadData(parts);
  await train.fill([0, 1, 2], x, y);
  expect([[...x], [...y], conversion?.classes]).toEqual([
    [1, 2, 3, 4, 5, 6],
    [2, 1, 0],
    ["maybe", "no", "yes"],
  ]);
  const listed = `${parts}/train-00001-of-00002.jsonl,${parts}/train-00000-of-00002.jsonl`;
  const other = await loadData(`${listed}:label`);
  await other.train.fill([0, 1, 2], x, y);
  // The first file decides on the order of the columns.
  expect([...x, ...y]).toEqual([6, 5, 2, 1, 4, 3, 0, 2, 1]);
  put("train-00001-of-00002.jsonl", [{ label: "no", b: null, a: 5 }]);
  await expect(loadData(parts)).rejects.toThrow(
    'train-*-of-00002.jsonl: row 3 (train-00001-of-00002.jsonl, row 1 (line 1)), column "b"',
  );
  put("train-00001-of-00002.jsonl", [{ label: "no", b: 6, c: 5 }]);
  await expect(loadData(parts)).rejects.toThrow(
    'train-00001-of-00002.jsonl: there is no column "a", which train-00000-of-00002.jsonl has',
  );
});

test("several labels have the names of their columns in evaluate and predict", async () => {
  const [toxic, rude] = [
    [1, 0, 1, 0],
    [0, 0, 1, 1],
  ];
  const labelled = toxic.map((one, i) => ({
    input_ids: [5 + i, 6],
    toxic: one,
    rude: rude[i],
    kind: 1 - one,
  }));
  const path = written("labels.jsonl", labelled);
  const flags = ["--data", path, "--label", "toxic,rude,kind", "--objective", "bce"];
  const model = `${fixtures}/bert.onnx`;
  const { stdout } = await cli("evaluate", model, ...flags, "--html", `${folder.path}/page.html`);
  expect(stdout.match(/^ *(toxic|rude|kind) /gm)?.map((name) => name.trim())).toEqual([
    "toxic",
    "rude",
    "kind",
  ]);
  expect(readFileSync(`${folder.path}/page.html`, "utf8")).toContain(">rude<");
  const { stdout: json } = await cli("evaluate", model, ...flags, "--json");
  expect(JSON.parse(json).labels.labels[1]).toMatchObject({ index: 1, name: "rude", samples: 2 });
  await cli("predict", model, ...flags, "-o", `${folder.path}/scores.csv`);
  expect(readFileSync(`${folder.path}/scores.csv`, "utf8").split("\n")[0]).toBe(
    "sample,score.toxic,score.rude,score.kind",
  );
});

test("lists that CSV holds as text are refused in words", async () => {
  const model = await modelNamed("bert");
  const csv = `${folder.path}/lists.csv`;
  writeFileSync(csv, 'input_ids,labels\n"[5, 6]",1\n[7 8],0\n');
  await expect(loadData(csv, { model })).rejects.toThrow(
    'row 1 (line 2), column "input_ids" holds a list that was written as text, [5, 6] …: save such a column as JSON Lines or Parquet',
  );
});

test("a decoder with a cache reads tokens alone: no column is asked for former ones", async () => {
  const decoder = await readModel("models/decoder.onnx");
  const texts = [3, 2, 3].map((length) => ({
    input_ids: Array.from({ length }, (_, i) => 5 + i),
    attention_mask: new Array<number>(length).fill(1),
  }));
  const { train } = await loadData(written("cached.jsonl", texts), { model: decoder });
  expect([...(train.inputs?.keys() ?? [])]).toEqual(["input_ids", "attention_mask"]);
  const { loss, samples } = await evaluateModel(decoder, train, { objective: causalLm() });
  expect(samples).toBe(3);
  expect(loss).toBeGreaterThan(1);

  const [first, ...others] = texts;
  const hidden = [{ ...first, attention_mask: [0, 0, 0] }, ...others];
  const { train: padded } = await loadData(written("hidden.jsonl", hidden), { model: decoder });
  await expect(evaluateModel(decoder, padded, { objective: causalLm() })).rejects.toThrow(
    /a sample has no token that its attention_mask counts/,
  );
});

test("the branch of a merged decoder and its former tokens take no data", () => {
  const b = new GraphBuilder(17);
  const ids = b.input("input_ids", ["batch", "tokens"], "int64");
  b.input("use_cache_branch", [1], "bool");
  const past = b.input("past_key_values.0.key", ["batch", 2, "past", 8]);
  const h = b.op("Gather", [b.weight("embedding", [9, 8]), ids], "h");
  b.output(
    b.op("MatMul", [h, b.weight("head", [8, 9])], "logits"),
    b.op("Identity", [past], "present.0.key"),
  );
  expect(wantedInputs(builtModel(b)).map(({ name }) => name)).toEqual(["input_ids"]);
  expect(wantedInputs(builtModel(b), { past: 3 }).map(({ name }) => name)).toHaveLength(3);
});

test("inputs of whole numbers are not standardized, and a mean for them is rounded", async () => {
  const b = new GraphBuilder(18);
  const [code, flag] = [b.input("code", ["batch"], "int32"), b.input("flag", ["batch", 1], "bool")];
  const row = b.op("Gather", [b.weight("embedding", [9, 2]), code], "row");
  const yes = b.op("Cast", [flag], "yes", { to: 1 });
  const all = b.op("Concat", [row, yes, b.input("x", ["batch", 2])], "all", { axis: 1 });
  b.output(b.op("MatMul", [all, b.weight("w", [5, 3])], "scores"));
  const [one, two, three] = [
    { code: 2, flag: true, x: [1, 4], label: 0 },
    { code: 5, flag: false, x: [3, 4], label: 1 },
    { code: null, flag: true, x: [5, 4], label: 2 },
  ] as const;
  const model = builtModel(b);
  const options = { model, standardize: true, missing: "mean" } as const;
  const { train, conversion } = await loadData(written("whole.jsonl", [one, two, three]), options);
  const found = await numbers(train);
  expect(found).toMatchObject({ code: [2, 5, 4], flag: [1, 0, 1], y: [0, 1, 2] });
  expect(found.x?.map((each) => Math.round(each * 1000))).toEqual([-1225, 0, 0, 0, 1225, 0]);
  // The figures of the record, with a missing number again.
  const again = await loadData(written("others.jsonl", [three, one]), { model, conversion });
  expect(await numbers(again.train)).toMatchObject({ code: [4, 2], flag: [1, 1] });
  const tokens = written("tokens.jsonl", [
    { input_ids: [1, 2], label: 0 },
    { input_ids: [3, 4], label: 1 },
  ]);
  await expect(loadData(tokens, { model: await modelNamed("bert"), standardize: true })).rejects.toThrow(
    "--standardize acts on numbers, and no input of the model takes any with a fraction: leave it out",
  );
});

test("a column of texts for a model of tokens asks for a tokenizer", async () => {
  const texts = written("words.jsonl", [
    { text: "one", label: 0 },
    { text: "two", label: 1 },
  ]);
  await expect(loadData(texts, { model: await modelNamed("bert") })).rejects.toThrow(
    "the table has text, label: texts need --tokenizer; columns of tokens are called as the inputs",
  );
});
