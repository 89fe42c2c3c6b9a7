import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Truncation, truncations } from "../../src/data/text/tokenizer.ts";
import type { DataOptions, Dataset } from "../../src/index.ts";
import { loadData } from "../../src/index.ts";
import { fixture } from "../oracles/references.ts";

const texts = "test/fixtures/text";
const expected = fixture<{
  readonly length: number;
  readonly blocks: Readonly<Record<"word-pieces" | "byte-pairs", readonly (readonly number[])[]>>;
  readonly rows: readonly (readonly number[])[];
  readonly attention: readonly (readonly number[])[];
  readonly pairs: Readonly<
    Record<Truncation, readonly Readonly<Record<"ids" | "attention" | "types", number[]>>[]>
  >;
}>("text/tokens.json");
const { length } = expected;
const pieces: DataOptions = { tokenizer: `${texts}/word-pieces`, length };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-texts-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function file(name: string, content: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

/** An array of a dataset, row by row. */
async function rowsOf({ inputs, labels, size }: Dataset, name: string): Promise<number[][]> {
  const column = name === "labels" ? labels : inputs?.get(name);
  const width = (column?.shape ?? []).reduce((a, b) => a * b, 1);
  const values = new Float64Array(size * width);
  await column?.fill(
    Array.from({ length: size }, (_, i) => i),
    values,
  );
  return Array.from({ length: size }, (_, i) => [...values.subarray(i * width, (i + 1) * width)]);
}

const story = `${texts}/story.txt`;

describe("tokens as Hugging Face's tokenizers make them", () => {
  test.each(["word-pieces", "byte-pairs"] as const)("a text file in blocks: %s", async (name) => {
    const { train, remarks, conversion } = await loadData(story, { tokenizer: `${texts}/${name}`, length });
    expect(await rowsOf(train, "input_ids")).toEqual(expected.blocks[name]);
    expect(remarks?.[0]).toMatch(/14 documents, \d+ tokens → \d+ blocks of 8/);
    expect(conversion?.text).toMatchObject({ length, samples: "blocks" });
  });

  test("rows of a table, cut and padded, with classes", async () => {
    const { train, conversion } = await loadData(`${texts}/reviews.csv`, pieces);
    expect(await rowsOf(train, "input_ids")).toEqual(expected.rows);
    expect(await rowsOf(train, "attention_mask")).toEqual(expected.attention);
    expect((await rowsOf(train, "labels")).slice(0, 4)).toEqual([[1], [0], [1], [0]]);
    expect(conversion).toMatchObject({
      classes: ["bad", "good"],
      text: { maskToken: 4, specialTokens: [0, 1, 2, 3, 4], column: "text", samples: "rows" },
    });
    // Other data of the trained model: the same classes, and no need to say anything.
    const later = await file(
      "later.jsonl",
      '{"text":"The day was warm"}\n{"text":"What a dull film, so grey!"}\n',
    );
    const again = await loadData(later, { ...(conversion && { conversion }) });
    expect(await rowsOf(again.train, "input_ids")).toHaveLength(2);
    expect(again.train.y.type).toBe("none");
  });

  test("rows of a table as a language model's documents, labels or not", async () => {
    const lines = (await readFile(story, "utf8")).match(/.*\n/g) ?? [];
    const rows = lines.map((text) => JSON.stringify({ label: "x", words: text.trim() || " " })).join("\n");
    const path = await file("story.jsonl", rows);
    const { train } = await loadData(path, { ...pieces, languageModel: true });
    expect(await rowsOf(train, "input_ids")).toEqual(expected.blocks["word-pieces"]);
  });
});

describe("several texts of a row", () => {
  test.each(truncations)("a pair in one sequence, cut %s", async (truncation) => {
    const reviews = (await readFile(`${texts}/reviews.csv`, "utf8")).split("\n").slice(1);
    const all = reviews.map((line) => /^"?(.*?)"?,\w*$/.exec(line)?.[1] ?? "");
    const firsts = [all.slice(0, 2).join(" "), ...all.slice(1, 6)];
    const seconds = [all.slice(6, 8).join(" "), ...all.slice(1, 6)];
    const rows = firsts.map((sentence1, i) =>
      JSON.stringify({ id: i, sentence1, sentence2: seconds[i], label: "a" }),
    );
    const path = await file("pairs.jsonl", rows.join("\n"));
    const cut = truncation === "longest-first" ? {} : { truncation };
    const room = { ...pieces, length: truncation === "longest-first" ? 9 : 24 };
    const { train, conversion } = await loadData(path, { ...room, ...cut });
    const wanted = expected.pairs[truncation];
    expect(await rowsOf(train, "input_ids")).toEqual(wanted.map(({ ids }) => ids));
    expect(await rowsOf(train, "attention_mask")).toEqual(wanted.map(({ attention }) => attention));
    expect(await rowsOf(train, "token_type_ids")).toEqual(wanted.map(({ types }) => types));
    expect(conversion?.text).toMatchObject({ columns: ["sentence1", "sentence2"], ...cut });
    const again = await loadData(path, { conversion });
    expect(await rowsOf(again.train, "input_ids")).toEqual(wanted.map(({ ids }) => ids));
  });

  test("texts beside each other for losses of embeddings, as long as the longest", async () => {
    const path = await file(
      "triplets.csv",
      "id,positive,anchor,negative\n1,dull film,dull,warm\n2,warm day,warm,the road\n",
    );
    const { train, conversion, remarks } = await loadData(path, {
      tokenizer: `${texts}/word-pieces`,
      apart: true,
    });
    const long = conversion?.text?.length ?? 0;
    expect(conversion?.text).toMatchObject({ columns: ["anchor", "positive", "negative"], apart: true });
    expect(remarks?.[0]).toContain(`texts from anchor, positive, negative; no labels; ${long} tokens`);
    expect(train.inputs?.get("input_ids")?.shape).toEqual([3, long]);
    const [first = []] = await rowsOf(train, "input_ids");
    const single = async (column: string) => {
      const one = await loadData(path, {
        tokenizer: `${texts}/word-pieces`,
        length: long,
        text: column,
        label: "id",
      });
      return (await rowsOf(one.train, "input_ids"))[0];
    };
    expect(first).toEqual([
      ...((await single("anchor")) ?? []),
      ...((await single("positive")) ?? []),
      ...((await single("negative")) ?? []),
    ]);
  });

  test("parts of a folder, with the classes of the training part", async () => {
    const parts = join(folder, "parts");
    await mkdir(parts);
    await writeFile(
      join(parts, "train.jsonl"),
      '{"text":"a warm day","label":"good"}\n{"text":"dull","label":"bad"}\n',
    );
    await writeFile(join(parts, "dev.csv"), "text,label\nso warm,good\n");
    await writeFile(join(parts, "test.csv"), "text\nso dull\n");
    const { train, validation, test: tests, conversion } = await loadData(parts, pieces);
    expect([train.size, validation?.size, tests?.size]).toEqual([2, 1, 1]);
    expect(validation && (await rowsOf(validation, "labels"))).toEqual([[1]]);
    expect(tests?.y.type).toBe("none");
    expect(conversion?.classes).toEqual(["bad", "good"]);
    await writeFile(join(parts, "val.csv"), "text,label\nso warm,good\n");
    await expect(loadData(parts, pieces)).rejects.toThrow("dev.csv and val.csv are both the part validation");
  });
});

const csv = (content: string) => () => file("table.csv", content);

test.each<[string, () => string | Promise<string>, DataOptions, string]>([
  ["no tokenizer", () => story, {}, "--tokenizer DIR"],
  ["no length", () => story, { tokenizer: `${texts}/byte-pairs` }, "--length 128"],
  ["another folder", () => story, { tokenizer: texts, length }, "there is no tokenizer.json"],
  ["too long", () => story, { ...pieces, length: 10_000 }, "choose a smaller --length"],
  ["no such column", csv("a,b\nx,1\n"), { ...pieces, text: "c" }, "it has a, b"],
  ["several columns", csv("a,b\nx,z\n"), pieces, "say it with --text"],
  ["an empty text", csv("text,label\nx,1\n,0\n"), pieces, 'row 2 (line 3), column "text" holds no text'],
  ["a length without tokenizer", csv("a,y\n1,0\n"), { length }, "give --tokenizer too"],
  [
    "three texts of one sample",
    csv("a,b,c,y\nx,x,x,1\n"),
    { ...pieces, text: "a,b,c" },
    "a sample is one text or a pair of two",
  ],
  [
    "a second text that leaves no room",
    csv("sentence1,sentence2,y\nx,the road was cold and dull and grey,1\n"),
    { ...pieces, truncation: "only-first" },
    "the second text alone has",
  ],
  [
    "a truncation of single texts",
    csv("text,y\nx,1\n"),
    { ...pieces, truncation: "only-second" },
    "--truncation says which text of a pair is cut",
  ],
  [
    "a truncation of blocks",
    csv("text\nx\n"),
    { ...pieces, truncation: "only-first" },
    "--truncation belongs to rows",
  ],
  [
    "a tokenizer for arrays",
    () => "test/fixtures/data/array-big-float64.npz",
    pieces,
    "--tokenizer belongs to texts",
  ],
])("refuses %s", async (_, path, options, message) => {
  await expect(loadData(await path(), options)).rejects.toThrow(
    new RegExp(message.replace(/[()]/g, "\\$&"), "i"),
  );
});

test("refuses another tokenizer than that of the training run", async () => {
  const { conversion } = await loadData(`${texts}/reviews.csv`, pieces);
  const other = { tokenizer: `${texts}/byte-pairs`, ...(conversion && { conversion }) };
  await expect(loadData(`${texts}/reviews.csv`, other)).rejects.toThrow("not the tokenizer");
});
