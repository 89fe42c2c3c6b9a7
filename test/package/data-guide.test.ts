import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { conversionOf, readModel } from "../../src/index.ts";
import { cli, temporaryFolder } from "../cli/run-cli.ts";

// scripts/guide-data.py made the files.
const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
beforeAll(() => cpSync("test/fixtures/guide", folder.path, { recursive: true }));
afterAll(() => folder.remove());

const [, section = ""] =
  /## From a file[^\n]*\n([\s\S]*?)\n## /.exec(readFileSync("docs/data.md", "utf8")) ?? [];
const commands = [...section.matchAll(/^ {4}sorth-onnx (.+)$/gm)].map(([, line = ""]) => line.split(" "));
/** The commands that the guide shows in passing, with the model that takes their data in place of `model.onnx`. */
const others = [...readFileSync("docs/data.md", "utf8").matchAll(/^sorth-onnx (.+)$/gm)].map(
  ([, line = ""]) => line.split(" "),
);
const modelFor: Readonly<Record<string, string>> = { pets: "pets.onnx", "people.csv": "people.onnx" };
const sources = { pets: 40, "people.csv": 40, "pets.parquet": 40, "pets.npz": 8 } as const;

it("docs/data.md trains, evaluates and predicts with each kind of data, one command each", () => {
  const said = commands.map((argv) => [argv[0], argv[argv.indexOf("--data") + 1]?.replace(/:.*/, "")]);
  expect(said).toEqual(
    Object.keys(sources).flatMap((data) =>
      ["train", "evaluate", "predict"].map((command) => [command, data]),
    ),
  );
});

it.each(commands.map((argv) => [argv.join(" "), argv] as const))("sorth-onnx %s", async (_, argv) => {
  const inFolder = (word: string, i: number) =>
    /\.(onnx|csv(:income)?|parquet|npz|html|jsonl)$|^pets$/.test(word) && i > 0 ? at(word) : word;
  const shorter = argv[0] === "train" ? ["--max-steps", "6", "--no-report"] : [];
  const { code, stdout, stderr } = await cli(...argv.map(inFolder), ...shorter);
  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.not.stringContaining("error") });
  const [command, model = ""] = argv;
  const data = argv[argv.indexOf("--data") + 1] as keyof typeof sources;
  if (command === "train") {
    expect(stderr).toMatch(/data: \d+ samples: .* labels of 2 classes.*, \d+\.\d–\d+\.\d % each/);
    return;
  }
  const names = conversionOf(await readModel(at(model)))?.classes ?? ["0", "1"];
  if (command === "evaluate" && argv.includes("--json")) {
    expect(JSON.parse(stdout)).toMatchObject({ samples: sources[data], accuracy: expect.any(Number) });
  } else if (command === "evaluate") {
    expect(stdout).toMatch(new RegExp(`: ${sources[data]} samples, loss [\\d.]+, accuracy [\\d.]+ %`));
    const page = argv[argv.indexOf("--html") + 1];
    if (argv.includes("--html")) expect(readFileSync(at(page ?? ""), "utf8")).toContain("data:image/png");
  } else {
    const text = readFileSync(at(argv.at(-1) ?? ""), "utf8").trim();
    const isCsv = argv.at(-1)?.endsWith(".csv");
    const lines = text.split("\n").slice(isCsv ? 1 : 0);
    expect(lines).toHaveLength(sources[data]);
    const answers = lines.map((line) =>
      isCsv ? line.split(",")[1] : `${(JSON.parse(line) as { answer: string }).answer}`,
    );
    expect([...new Set(answers)].filter((answer) => !names.includes(answer ?? ""))).toEqual([]);
    if (data === "pets") expect(lines[0]).toMatch(/^cat\/0\.png,/);
  }
});

it.each(others.map((argv) => [argv.join(" "), argv] as const))(
  "in passing: sorth-onnx %s",
  async (_, argv) => {
    const data = argv[argv.indexOf("--data") + 1] ?? "";
    const own = modelFor[data];
    const words = argv.map((word) => {
      if (word === "model.onnx") return own ? at(own) : "models/mlp.onnx";
      return word === data && own ? at(data) : word;
    });
    // The guide's own data has 40 samples.
    const batch = own ? ["--batch", "8"] : [];
    const shorter = ["--max-steps", "3", "--no-report", "-o", at("passing.onnx"), "--force"];
    const { code, stderr } = await cli(...words, ...batch, ...shorter);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.not.stringContaining("error") });
  },
);
