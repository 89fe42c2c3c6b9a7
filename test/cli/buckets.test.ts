import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { cli, temporaryFolder } from "./run-cli.ts";

const texts = "test/fixtures/text";
const folder = temporaryFolder();
const at = (name: string) => `${folder.path}/${name}`;
beforeAll(() => copyFileSync(`${texts}/classifier.onnx`, at("classifier.onnx")));
afterAll(() => folder.remove());

const data = ["--data", `${texts}/reviews.csv`, "--tokenizer", `${texts}/word-pieces`];
const short = ["--batch", "4", "--epochs", "2", "--penalty", "none", "--threads", "1", "--no-report"];

/** Trains the classifier. @returns the losses of the run's steps */
async function trained(name: string, ...flags: string[]): Promise<number[]> {
  const { code, stderr } = await cli("train", at("classifier.onnx"), "-o", at(`${name}.onnx`), ...flags);
  expect({ code, stderr }).toMatchObject({ code: 0 });
  return lossesOf(name);
}

const lossesOf = (name: string): number[] =>
  readFileSync(at(`${name}.run/run.jsonl`), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line))
    .flatMap(({ event, loss }) => (event === "step" ? [loss] : []));

test("texts are trained in buckets, as flags or a configuration say, and a stopped run goes on", async () => {
  const own = [...data, ...short, "--length", "10"];
  const plain = await trained("plain", ...own);
  const found = await trained("found", ...own, "--buckets", "6,8");
  expect(found).toHaveLength(plain.length);
  expect(found).not.toEqual(plain);
  // The last bucket is the length of the samples, whether it is said or not.
  expect(await trained("said", ...own, "--buckets", "6,8,10")).toEqual(found);
  writeFileSync(at("run.json"), JSON.stringify({ length: 10, buckets: [6, 8] }));
  expect(await trained("read", ...data, ...short, "--config", at("run.json"))).toEqual(found);
  // Samples of 10 tokens are shorter than the first power of two: one bucket, and the bits of a run without.
  expect(await trained("auto", ...own, "--buckets", "auto")).toEqual(plain);
  const begun = await trained("begun", ...own, "--buckets", "6,8", "--max-steps", "4");
  expect(begun).toEqual(found.slice(0, 4));
  const resumed = await cli("train", "--resume", at("begun.run"), "--epochs", "2", "--force");
  expect(resumed.code).toBe(0);
  expect(lossesOf("begun")).toEqual(found);
});

test("evaluate and predict run texts in buckets, and say how many each holds", async () => {
  await trained("whole", ...data, ...short, "--length", "10");
  const [model, reviews] = [at("whole.onnx"), ["--data", `${texts}/reviews.csv`, "--batch", "4"]];
  const inBuckets = ["--buckets", "6,8"];
  const count = "24 samples by the tokens of their bucket: 0 of up to 6, 8 of up to 8, 16 of up to 10";
  const evaluated = async (...flags: string[]) => {
    const { code, stdout, stderr } = await cli("evaluate", model, ...reviews, "--json", ...flags);
    expect(code).toBe(0);
    expect(stderr.split(count).length - 1).toBe(flags.length > 0 ? 1 : 0);
    return JSON.parse(stdout);
  };
  const [found, whole] = [await evaluated(...inBuckets), await evaluated()];
  expect(found.loss).toBeCloseTo(whole.loss, 6);
  expect(found).toMatchObject({ samples: 24, accuracy: whole.accuracy });
  const predicted = async (...flags: string[]) => {
    const output = at("answers.csv");
    const { code, stderr } = await cli("predict", model, ...reviews, "-o", output, "--force", ...flags);
    expect(code).toBe(0);
    expect(stderr.split(count).length - 1).toBe(flags.length > 0 ? 1 : 0);
    const [, ...lines] = readFileSync(output, "utf8").trim().split("\n");
    return lines.map((line) =>
      line.split(",").map((cell) => (/\./.test(cell) ? Number(cell).toFixed(5) : cell)),
    );
  };
  const answers = await predicted(...inBuckets);
  expect(answers).toHaveLength(24);
  expect(answers).toEqual(await predicted());
});

test.each([
  [["--buckets", "6,16"], "so that none has 16"],
  [["--buckets", "8,6"], "buckets are lengths that ascend"],
])("evaluate and predict %j say what is wrong", async (flags, message) => {
  const words = [at("classifier.onnx"), ...data, "--length", "10", ...flags];
  for (const [command, ...more] of [["evaluate"], ["predict", "-o", at("none.csv")]]) {
    const { code, stderr } = await cli(command as string, ...words, ...more);
    expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining(message) });
  }
});

test("a search for a learning rate takes the batches of the run", async () => {
  const words = ["find-lr", at("classifier.onnx"), ...data, "--length", "10", "--batch", "4", "--steps", "6"];
  const run = async (...flags: string[]) => {
    const { code, stdout } = await cli(...words, "--penalty", "none", "--json", ...flags);
    expect(code).toBe(0);
    return JSON.parse(stdout).points.map(({ loss }: { loss: number }) => loss);
  };
  expect(await run("--buckets", "6,8")).not.toEqual(await run());
});

test.each([
  [
    [...data, "--length", "10", "--buckets", "6,16"],
    "--buckets 6,16: samples have 10 tokens, so that none has 16",
  ],
  [
    [...data, "--length", "10", "--buckets", "8,6"],
    "buckets are lengths that ascend, as in 32,64,128, not 8,6,10",
  ],
  [[...data, "--length", "10", "--buckets", "6,x"], "--buckets"],
  [
    [...data, "--length", "10", "--buckets", "6", "--steps-per-run", "4"],
    "leave out stepsPerRun (--steps-per-run)",
  ],
  [["--data", "mnist", "--buckets", "6,8"], "--buckets belongs to rows of a table with texts"],
])("train %j says what is wrong", async (flags, message) => {
  const { code, stderr } = await cli("train", at("classifier.onnx"), ...flags, "-o", at("other.onnx"));
  expect(code).toBeGreaterThan(0);
  expect(stderr).toContain(message);
  expect(stderr.trim().split("\n").at(-1)).toMatch(/^error: /);
});

test("ONNX Runtime's own training model takes none", async () => {
  const path = "test/fixtures/official/mlp/training_model.onnx";
  const { code, stderr } = await cli(
    "train",
    path,
    "--data",
    "mnist",
    "--buckets",
    "8",
    "-o",
    at("own.onnx"),
  );
  expect({ code, stderr }).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("--buckets belongs to models"),
  });
});

test("a resumed run keeps its buckets", async () => {
  const { code, stderr } = await cli("train", "--resume", at("found.run"), "--buckets", "6");
  expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining("leave out --buckets") });
});
