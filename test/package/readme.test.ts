import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { penaltyNames } from "../../src/index.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { npz } from "../cli/npz.ts";
import { cli } from "../cli/run-cli.ts";
import { npyBytes } from "../data/npy-bytes.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { uniform } from "../helpers/lcg.ts";

const readme = readFileSync("README.md", "utf8");
const guides = [
  ...["README.md", "docs/training.md", "docs/artifacts.md", "docs/text.md"],
  ...["docs/from-lightning.md", "docs/from-keras.md", "docs/inner-values.md", "docs/fine-tuning.md"],
  ...["docs/from-hugging-face.md", "docs/angles.md", "docs/penalties.md"],
];
// Inside the package, so that the example finds it under its own name.
const folder = "out/readme";

beforeAll(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The command lines of a document. */
const commandsOf = (file: string): string[][] =>
  [...readFileSync(file, "utf8").matchAll(/^ {4,6}sorth-onnx (.+)$/gm)].map(([, line]) =>
    (line ?? "")
      .replace(/#.*$|"/g, "")
      .trim()
      .split(/ +/),
  );

/** A model with two outputs, data for it, and losses in files. */
function writeDetector(own: string): void {
  for (const [name, to] of [
    ["two.onnx", "detector.onnx"],
    ["loss.onnx", "loss.onnx"],
  ] as const) {
    copyFileSync(join("test/fixtures/objectives", name), join(own, to));
  }
  writeFileSync(
    join(own, "loss.mjs"),
    "export default (g, prediction, labels) => g.abs(g.sub(prediction, labels));",
  );
  const floats = (width: number) =>
    npyBytes({ descr: "<f4", shape: [64, width], data: uniform("two", 64 * width) });
  const classes = npyBytes({
    ...{ descr: "<i8", shape: [64] },
    data: BigInt64Array.from({ length: 64 }, (_, i) => BigInt(i % 3)),
  });
  const arrays = { x: floats(5), y_box: floats(4), y_class: classes, labels: classes };
  const files = Object.entries(arrays).map(([name, bytes]) => [`${name}.npy`, bytes]);
  writeFileSync(join(own, "detector.npz"), zipSync(Object.fromEntries(files)));
}

/** Texts, a tokenizer, a classifier of texts, and the smallest of language models. */
function writeTexts(own: string): void {
  const texts = "test/fixtures/text";
  const pair = (i: number) => JSON.stringify({ anchor: `a warm day ${i}`, positive: `warm and kind ${i}` });
  writeFileSync(join(own, "pairs.jsonl"), [1, 2, 3, 4, 5, 6, 7, 8].map(pair).join("\n"));
  copyFileSync("test/fixtures/text/classifier.onnx", join(own, "encoder.onnx"));
  for (const name of ["story.txt", "reviews.csv", "classifier.onnx"])
    copyFileSync(join(texts, name), join(own, name));
  cpSync(join(texts, "word-pieces"), join(own, "tokenizer"), { recursive: true });
  const b = new GraphBuilder();
  const tokens = b.input("input_ids", ["batch", "sequence_length"], "int64");
  const states = b.op("Gather", [b.weight("tokens.weight", [70, 8]), tokens], "states");
  const graph = b.output(b.op("MatMul", [states, b.weight("head.weight", [8, 70])], "logits"));
  writeFileSync(join(own, "decoder.onnx"), encodeModelProto(graphToProto(graph, { irVersion: 8 })));
}

it("README and guides show every command", () => {
  const names = [
    ...["inspect", "inject", "verify", "strip", "grad", "train", "step", "artifacts", "angles", "export"],
    ...["evaluate", "predict", "find-lr", "head", "free-batch", "merge", "tap", "bench", "distribute"],
  ];
  const shown = guides.flatMap(commandsOf).map(([name]) => name);
  expect(new Set(shown)).toEqual(new Set(names));
});

describe.each(guides)("the commands of %s", (file) => {
  const own = join(folder, file.replace(/\W/g, "-"));

  beforeAll(() => {
    mkdirSync(own, { recursive: true });
    copyFileSync("models/mlp.onnx", join(own, "model.onnx"));
    copyFileSync("models/mlp.onnx", join(own, "other.onnx"));
    copyFileSync("models/cnn.onnx", join(own, "cnn.onnx"));
    copyFileSync("test/fixtures/single/flat.script.onnx", join(own, "single.onnx"));
    for (const name of ["training_model.onnx", "checkpoint"]) {
      copyFileSync(join("test/fixtures/official/mlp", name), join(own, name));
    }
    writeFileSync(
      join(own, "data.npz"),
      npz(200, [20], (index) => index % 5),
    );
    writeFileSync(
      join(own, "digits.npz"),
      npz(200, [1, 28, 28], (index) => index % 10),
    );
    writeDetector(own);
    writeTexts(own);
    if (file.includes("hugging-face")) cpSync("test/fixtures/hugging-face", own, { recursive: true });
  });

  // A document may show a command twice; its second run would find the files of the first.
  const lines = [...new Set(commandsOf(file).map((argv) => argv.join(" ")))];
  it.each(lines)("sorth-onnx %s", async (line) => {
    const argv = line.split(" ");
    const isFile = (word: string) =>
      /\.(onnx|onnx_adapter|npz|csv|jsonl|parquet|txt|html|run|yaml)$|\/$|^checkpoint|^artifacts$|^loss\.mjs|^tokenizer$|^adapter/.test(
        word,
      );
    const there = argv.map((word, i) =>
      i > 0 && isFile(word) ? join(own, word) : word.replace(":adapter=", `:adapter=${own}/`),
    );
    // A run that was stopped, which is what one resumes, has written no model yet.
    if (argv.includes("--resume")) rmSync(join(own, "model.trained.onnx"), { force: true });
    const { code, stderr } = await cli(
      ...there,
      ...(argv[0] === "find-lr" ? ["--steps", "5"] : []),
      ...(argv[0] === "train" ? ["--max-steps", argv.includes("--resume") ? "5" : "3"] : []),
    );
    expect({ code, errors: stderr.match(/^.*error.*$/gm) ?? [] }).toEqual({ code: 0, errors: [] });
  });
});

describe("the README", () => {
  it("counts what the generated documents and the code count", () => {
    const flat = (file: string) => readFileSync(file, "utf8").replace(/\s+/g, " ");
    const countIn = (file: string, pattern: RegExp) => pattern.exec(flat(file))?.[1];
    const operators = countIn("docs/ops.md", /(\d+) operators have a derivative/);
    const counts = [
      `[${operators} operators](docs/ops.md)`,
      `[${countIn("docs/peers.md", /(\d+) architectures of/)} architectures](docs/peers.md)`,
      `ONNX files that ${countIn("docs/models.md", /files of (\d+) packages/)} packages ship`,
      "Fourteen other penalties",
      "lists all fifteen",
    ];
    expect(counts.filter((text) => !flat("README.md").includes(text))).toEqual([]);
    expect(flat("CHANGELOG.md")).toContain(`${operators} operators ([docs/ops.md](docs/ops.md))`);
    expect(penaltyNames).toHaveLength(15);
  });

  it("has a library example that runs on the built package", (context) => {
    context.skip(!existsSync("dist/node/index.js"), "dist/ is not built (npm run build)");
    const snippets = [...readme.matchAll(/```ts\n([\s\S]+?)```/g)].map(([, code]) => code ?? "");
    const example = snippets.find((code) => code.includes("Trainer.create")) ?? "";
    const shorter = example
      .replace("epochs: 3", "epochs: 3, maxSteps: 3")
      .replaceAll('.onnx"', '.example.onnx"');
    copyFileSync("models/mlp.onnx", join(folder, "model.example.onnx"));
    writeFileSync(join(folder, "example.mts"), shorter);
    const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", "tsx", "example.mts"], {
      cwd: folder,
      encoding: "utf8",
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain("accuracy");
    expect(existsSync(join(folder, "injected.example.onnx"))).toBe(true);
    expect(existsSync(join(folder, "trained.example.onnx"))).toBe(true);
  });

  it.each(guides)("%s links only to files that exist", (file) => {
    const links = [...readFileSync(file, "utf8").matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)];
    const paths = links.map(([, path]) => join(dirname(file), path ?? ""));
    expect(paths.length).toBeGreaterThan(0);
    expect(paths.filter((path) => !existsSync(path))).toEqual([]);
  });
});
