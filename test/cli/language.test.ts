import { copyFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { conversionOf, readModel } from "../../src/index.ts";
import { cli } from "./run-cli.ts";

const texts = "test/fixtures/text";
const tokenizer = ["--tokenizer", `${texts}/word-pieces`, "--length", "8"];
let folder: string;
let model: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-text-"));
  model = join(folder, "classifier.onnx");
  copyFileSync(`${texts}/classifier.onnx`, model);
  const flags = ["--batch", "4", "--epochs", "12", "--lr", "0.03", "--penalty", "none", "--no-report"];
  const { code, stderr } = await cli(
    "train",
    model,
    "--data",
    `${texts}/reviews.csv`,
    ...tokenizer,
    ...flags,
  );
  expect({ code, stderr }).toMatchObject({ code: 0 });
});
afterAll(() => rm(folder, { recursive: true }));

const trained = () => join(folder, "classifier.trained.onnx");

test("a classifier of texts is trained, and evaluated and used without a word about tokens", async () => {
  const { stdout } = await cli("evaluate", trained(), "--data", `${texts}/reviews.csv`, "--json");
  expect(JSON.parse(stdout)).toMatchObject({ accuracy: 1, samples: 24 });
  const answers = join(folder, "answers.csv");
  await cli("predict", trained(), "--data", `${texts}/reviews.csv`, "-o", answers);
  const lines = (await readFile(answers, "utf8")).split("\n");
  expect(lines[0]).toMatch(/^sample,answer,/);
  expect(lines.slice(1, 5).map((line) => line.split(",")[1])).toEqual(["good", "bad", "good", "bad"]);
});

test("the model and the run keep tokenizer and length", async () => {
  const record = conversionOf(await readModel(trained()))?.text;
  expect(record).toMatchObject({ length: 8, column: "text", label: { classes: ["bad", "good"] } });
  const run = JSON.parse(await readFile(join(folder, "classifier.trained.run", "run.json"), "utf8"));
  expect(run.data.text).toEqual(record);
});

test.each([
  [["--data", `${texts}/story.txt`, "--objective", "causal-lm"], "texts need a tokenizer"],
  [
    ["--data", `${texts}/story.txt`, "--objective", "causal-lm", ...tokenizer],
    "causal-lm needs logits of shape",
  ],
  [["--data", "mnist", ...tokenizer], "--tokenizer belongs to texts"],
  [
    ["--data", `${texts}/reviews.csv`, ...tokenizer, "--standardize"],
    "--standardize belongs to tables of numbers",
  ],
])("train %j says what is wrong", async (flags, message) => {
  const { code, stderr } = await cli("train", model, ...flags, "-o", join(folder, "other.onnx"));
  expect(code).toBeGreaterThan(0);
  expect(stderr).toContain(message);
  expect(stderr.trim().split("\n").at(-1)).toMatch(/^error: /);
});
