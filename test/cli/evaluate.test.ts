import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { conversionOf, decodeModel, readModel, withConversion, writeModel } from "../../src/index.ts";
import { npz } from "./npz.ts";
import { cli, temporaryFolder } from "./run-cli.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);

beforeAll(() => {
  writeFileSync(
    at("data.npz"),
    npz(30, [1, 28, 28], (index) => index % 10),
  );
});
afterAll(() => folder.remove());

it("evaluate prints figures, a table of the classes, the confusion matrix and the worst samples", async () => {
  const { code, stdout } = await cli("evaluate", "models/mlp.onnx", "--data", at("data.npz"), "--worst", "2");
  expect(code).toBe(0);
  expect(stdout).toMatch(/data\.npz: 30 samples, loss \d\.\d+, accuracy \d+\.\d\d %/);
  expect(stdout).toMatch(/^class +precision +recall +F1 +samples$/m);
  expect(stdout).toContain("rows by class (down) and answer (across)");
  expect(stdout.split("samples with the highest loss\n")[1]?.trim().split("\n")).toHaveLength(3);
});

it("evaluate and predict read the test part, else the validation part, else all", async () => {
  const part = (name: string, rows: number) =>
    writeFileSync(at(`parts/${name}.csv`), ["a,b,c,d,e,y", ...Array(rows).fill("1,2,3,4,5,0")].join("\n"));
  mkdirSync(at("parts"));
  const rows: number[] = [];
  for (const [name, length] of [
    ["train", 3],
    ["validation", 4],
    ["test", 5],
  ] as const) {
    part(name, length);
    const from = ["test/fixtures/data/vector.onnx", "--data", at("parts")];
    rows.push(JSON.parse((await cli("evaluate", ...from, "--json")).stdout).samples);
    expect((await cli("predict", ...from, "-o", at(`${name}.csv`))).code).toBe(0);
    rows.push(
      readFileSync(at(`${name}.csv`), "utf8")
        .trim()
        .split("\n").length - 1,
    );
  }
  expect(rows).toEqual([3, 3, 4, 4, 5, 5]);
});

it("evaluate --json has all figures", async () => {
  const { stdout } = await cli("evaluate", "models/mlp.onnx", "--data", at("data.npz"), "--json");
  expect(JSON.parse(stdout)).toMatchObject({
    ...{ loss: expect.any(Number), accuracy: expect.any(Number), samples: 30 },
    classes: { classes: { length: 10 }, confusion: { length: 10 } },
  });
});

it("evaluate --metrics computes those of train --metrics, and one of a file", async () => {
  const own =
    "export default { name: 'seen', begin: (n = 0) => ({ add: () => void (n += 1), result: () => n }) };";
  writeFileSync(at("own.mjs"), own);
  const asked = ["--data", at("data.npz"), "--metrics", `f1,auc,top3,${at("own.mjs")}`];
  const { stdout } = await cli("evaluate", "models/mlp.onnx", ...asked, "--json");
  const { metrics, classes, perClass } = JSON.parse(stdout);
  expect(metrics).toEqual({
    f1: classes.macro.f1,
    auc: expect.any(Number),
    top3: expect.any(Number),
    seen: 30,
  });
  expect(perClass.auc).toHaveLength(10);
  const text = await cli("evaluate", "models/mlp.onnx", ...asked, "--html", at("metrics.html"));
  expect(text.stdout).toMatch(/accuracy \d+\.\d\d %, f1 0\.\d+, auc 0\.\d+, top3 0\.\d+, seen 30\.00/);
  expect(readFileSync(at("metrics.html"), "utf8")).toMatch(/<dt>auc<\/dt><dd>0\.\d+<\/dd>/);
});

it("predict writes one line a sample, as CSV or JSON", async () => {
  for (const name of ["answers.csv", "answers.jsonl"]) {
    const { code } = await cli("predict", "models/mlp.onnx", "--data", at("data.npz"), "-o", at(name));
    expect(code).toBe(0);
  }
  const [heading, first, ...rest] = readFileSync(at("answers.csv"), "utf8").trim().split("\n");
  expect(heading).toBe(`sample,answer,${Array.from({ length: 10 }, (_, i) => `score.${i}`).join(",")}`);
  expect(rest).toHaveLength(29);
  const line = JSON.parse(readFileSync(at("answers.jsonl"), "utf8").split("\n")[0] ?? "") as {
    answer: number;
    scores: number[];
  };
  expect(first?.split(",").slice(0, 2)).toEqual(["0", String(line.answer)]);
  expect(Number(first?.split(",")[2])).toBeCloseTo(line.scores[0] ?? Number.NaN, 6);
});

it("train weighs rare classes up, and spreads a share of the target", async () => {
  writeFileSync(
    at("rare.npz"),
    npz(40, [1, 28, 28], (index) => (index % 4 === 0 ? 1 : 0)),
  );
  const losses = [];
  for (const more of [[], ["--class-weights", "balanced"], ["--label-smoothing", "0.3"]]) {
    const output = at(`rare${losses.length}.onnx`);
    const { code, stderr } = await cli(
      ...["train", "models/mlp.onnx", "--data", at("rare.npz"), "--penalty", "none", "--batch", "20"],
      ...["--epochs", "1", "-o", output, ...more],
    );
    expect(code, stderr).toBe(0);
    const run = readFileSync(output.replace(/\.onnx$/, ".run/run.jsonl"), "utf8").split("\n");
    const step = run.find((line) => line.includes('"event":"step"')) ?? "";
    losses.push((JSON.parse(step) as { loss: number }).loss);
  }
  expect(new Set(losses).size).toBe(3);
});

it("evaluate --html writes a page beside the model, or where it is told, and replaces none", async () => {
  copyFileSync("models/mlp.onnx", at("mlp.onnx"));
  const evaluate = ["evaluate", at("mlp.onnx"), "--data", at("data.npz")];
  const { code, stdout, stderr } = await cli(...evaluate, "--html");
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining("mlp.evaluation.html") });
  expect(stdout).toContain("samples with the highest loss");
  const page = readFileSync(at("mlp.evaluation.html"), "utf8");
  expect(page).toContain("Figures of each class");
  expect(page).not.toMatch(/<script|https?:(?!\/\/www\.w3\.org)/);
  const again = await cli(...evaluate, "--html");
  expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining("already exists") });
});

it("samples of a table that lost rows keep the numbers of their rows", async () => {
  const model = "test/fixtures/data/vector.onnx";
  const source = ["--data", "test/fixtures/data/holes.csv", "--missing", "drop"];
  const { code, stderr } = await cli("predict", model, ...source, "-o", at("rows.csv"), "--objective", "mse");
  expect(code, stderr).toBe(0);
  const samples = readFileSync(at("rows.csv"), "utf8")
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => Number(line.split(",")[0]));
  expect(samples.slice(0, 8)).toEqual([0, 1, 2, 4, 5, 6, 8, 9]);
  const { stdout } = await cli("evaluate", model, ...source, "--worst", "22", "--json");
  const worst = (JSON.parse(stdout) as { worst: { sample: number }[] }).worst.map(({ sample }) => sample);
  expect(worst.sort((a, b) => a - b)).toEqual(samples);
});

it.each([
  [["evaluate", "models/mlp.onnx"], /--data/],
  [["evaluate", "models/mlp.onnx", "--data", "DATA", "--part", "validation"], /no part "validation"/],
  [
    ["evaluate", "models/mlp.onnx", "--data", "DATA", "--prediction", "nothing"],
    /no value "nothing"|has no value/,
  ],
  [["evaluate", "models/mlp.onnx", "--data", "DATA", "--metrics", "f3"], /no metric "f3"/],
  [
    ["evaluate", "models/mlp.onnx", "--data", "DATA", "--metrics", "r2"],
    /"r2" is not defined for the labels/,
  ],
  [["predict", "models/mlp.onnx", "--data", "DATA", "-o", "FOLDER"], /is a folder/],
])("%j is refused in one line", async (argv, message) => {
  const { code, stderr } = await cli(
    ...argv.map((word) => (word === "DATA" ? at("data.npz") : word === "FOLDER" ? folder.path : word)),
  );
  expect(code).toBe(2);
  expect(stderr).toMatch(message);
});

it("evaluate and predict take the loss that the model was trained with, and say so", async () => {
  writeFileSync(
    at("bits.npz"),
    npz(20, [1, 28, 28], (index) => index % 2),
  );
  const train = (data: string, output: string, ...words: string[]) =>
    cli(
      ...[
        "train",
        "models/mlp.onnx",
        "--data",
        at(data),
        "--penalty",
        "none",
        "--batch",
        "10",
        "--max-steps",
        "2",
      ],
      ...["-o", at(output), "--no-report", ...words],
    );
  const evaluate = (output: string, data: string, ...words: string[]) =>
    cli("evaluate", at(output), "--data", at(data), "--json", ...words);
  const smoothed = "cross-entropy:label-smoothing=0.3";
  expect((await train("data.npz", "smoothed.onnx", "--label-smoothing", "0.3")).code).toBe(0);
  const own = await evaluate("smoothed.onnx", "data.npz");
  expect(own.stderr).toContain(`loss: ${smoothed}, which the model was trained with`);
  const said = await evaluate("smoothed.onnx", "data.npz", "--objective", smoothed);
  const plain = await evaluate("smoothed.onnx", "data.npz", "--objective", "cross-entropy");
  expect(JSON.parse(own.stdout)).toEqual(JSON.parse(said.stdout));
  expect(JSON.parse(own.stdout).loss).not.toBe(JSON.parse(plain.stdout).loss);
  expect(said.stderr + plain.stderr).not.toContain("was trained with");

  // Two losses of one output; a prediction that is named takes those that read it.
  const two = [
    "--objective",
    "cross-entropy:name=a,output=logits",
    "--objective",
    "cross-entropy:name=b,output=logits,weight=2",
  ];
  expect((await train("data.npz", "two.onnx", ...two)).code).toBe(0);
  const both = JSON.parse((await evaluate("two.onnx", "data.npz")).stdout);
  expect(both.loss).toBeCloseTo(both.outputs.a.loss + 2 * both.outputs.b.loss, 9);
  const asked = JSON.parse((await evaluate("two.onnx", "data.npz", "--prediction", "logits")).stdout);
  expect(asked.loss).toBeCloseTo(both.loss, 9);

  // Yes-or-no labels: sigmoids, which do not sum to 1.
  const model = readModelWithRecord("bce");
  await writeModel(model, at("bce.onnx"));
  const { stderr } = await cli("predict", at("bce.onnx"), "--data", at("data.npz"), "-o", at("bce.jsonl"));
  expect(stderr).toContain("answers as bce reads them, which the model was trained with");
  const { answer, scores } = JSON.parse(readFileSync(at("bce.jsonl"), "utf8").split("\n")[0] ?? "");
  expect(answer).toBeUndefined();
  expect(scores.reduce((a: number, b: number) => a + b, 0)).toBeGreaterThan(1.5);
  // New classes are trained anew: the old loss is forgotten.
  await cli("head", at("bce.onnx"), "--classes", "3", "-o", at("head.onnx"));
  expect(conversionOf(await readModel(at("head.onnx")))?.objective).toBeUndefined();
  await writeModel(readModelWithRecord(7), at("damaged.onnx"));
  const damaged = await evaluate("damaged.onnx", "data.npz");
  expect(damaged).toMatchObject({
    code: 1,
    stderr: expect.stringContaining("the record of the loss (sorth.data) is damaged"),
  });
});

/** The sample MLP with a record of its loss. */
const readModelWithRecord = (name: unknown) =>
  withConversion(decodeModel(readFileSync("models/mlp.onnx")), {
    version: 1,
    objective: { name: name as string, options: {} },
  });
