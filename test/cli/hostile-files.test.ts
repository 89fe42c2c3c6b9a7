import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "csv-parse/sync";
import { parseHTML } from "linkedom";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse as parseYaml } from "yaml";
import { graphToProto } from "../../src/graph/proto.ts";
import { Model } from "../../src/onnx/model.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { cli, temporaryFolder } from "./run-cli.ts";

/** Names of classes, columns and layers that would run as HTML, as a formula, on a terminal, or as a property of every object. */
const names = [
  "<img src=x onerror=alert(1)>",
  '"><script>alert(1)</script>',
  "</style></title><svg onload=alert(1)>",
  "=cmd|' /C calc'!A0",
  "@SUM(1)",
  "\u202egnp.exe",
  "\x1b]0;pwned\x07\x1b[2J\x9b31m",
  "__proto__",
  "constructor",
  "javascript:alert(1)//'",
];
/** Columns have the names on one line each. */
const columns = names.slice(0, 8);
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const raw = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]/;

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
/** Rows: numbers, and each class in turn. */
const cell = (text: string | number) => `"${String(text).replaceAll('"', '""')}"`;
const rows = Array.from({ length: 40 }, (_, row) => [
  ...columns.map((_, i) => ((row * 7 + i * 3) % 11) / 11),
  names[row % names.length] ?? "",
]);

beforeAll(() => {
  const b = new GraphBuilder(18);
  let h = b.input("x", ["N", columns.length]);
  for (const name of [names[1], names[3], names[5], names[6], "__proto__"].map(String)) {
    h = b.op(
      "Tanh",
      [b.op("MatMul", [h, b.weight(`${name}.weight`, [8, 8])], `${name}.out`)],
      `${name}.tanh`,
    );
    if (h.producer) h.producer.name = name;
  }
  b.graph.addOutput(b.op("MatMul", [h, b.weight("head", [8, names.length])], "logits"));
  writeFileSync(at("m.onnx"), Model.fromProto(graphToProto(b.graph)).bytes);
  const text = [[...columns, "label"], ...rows].map((row) => row.map(cell).join(",")).join("\n");
  writeFileSync(at("data.csv"), `${text}\n`);
});
afterAll(() => folder.remove());

/** What a file of this kind must never hold. */
function check(file: string, text: string): void {
  // Lines of comma-separated values end as RFC 4180 has it.
  expect(file.endsWith(".csv") ? text.replaceAll("\r\n", "\n") : text, file).not.toMatch(raw);
  if (file.endsWith(".html")) {
    const { document } = parseHTML(text);
    expect([...document.querySelectorAll("script,iframe,object,embed,link,base,form")], file).toEqual([]);
    for (const element of document.querySelectorAll("*")) {
      const own = [...element.attributes].map(({ name, value }) => `${name}=${value}`);
      expect(
        own.filter((one) => /^on|^(src|href|xlink:href)=(?!#|data:image\/png)/i.test(one)),
        file,
      ).toEqual([]);
    }
    expect(document.querySelectorAll("title").length, file).toBe(1);
  }
  if (file.endsWith(".csv")) {
    for (const row of parse(text) as string[][]) {
      expect(
        row.filter((one) => /^[=+\-@\t\r]/.test(one) && Number.isNaN(Number(one))),
        file,
      ).toEqual([]);
    }
  }
  if (/\.json$/.test(file)) JSON.parse(text);
  if (/\.jsonl$/.test(file)) for (const line of text.trimEnd().split("\n")) JSON.parse(line);
  if (/\.yaml$/.test(file)) parseYaml(text);
}

describe("files about hostile names", () => {
  it("run, command after command, and neither files nor terminal hold what would act", async () => {
    const data = ["--data", `${at("data.csv")}:label`];
    const small = ["--batch", "8", "--max-steps", "2"];
    const m = at("m.onnx");
    const first = ["-o", at("t.onnx"), "--checkpoint", at("run"), "--tensorboard", at("tb")];
    const second = ["-o", at("l.onnx"), "--checkpoint", at("lora")];
    const commands = [
      [...["train", m, ...data, ...small, "--penalty", "none"], ...first],
      [
        ...[
          "train",
          m,
          ...data,
          ...small,
          "--lora",
          "rank=2",
          "--penalty",
          "none",
          "--adapter",
          at("a.safetensors"),
        ],
        ...second,
      ],
      ["evaluate", at("t.onnx"), ...data, "--html", at("evaluation.html")],
      ["evaluate", at("t.onnx"), ...data, "--json"],
      ["predict", at("t.onnx"), ...data, "-o", at("p.csv")],
      ["predict", at("t.onnx"), ...data, "-o", at("p.jsonl")],
      ["angles", at("t.onnx"), m, "--html", at("angles.html")],
      ["angles", at("t.onnx"), "--csv"],
      ["angles", at("t.onnx"), "--json"],
      ["tap", m, "--list"],
      ["head", m, "--classes", "3", "-o", at("h.onnx")],
      ["merge", m, "--adapter", at("a.safetensors"), "-o", at("merged.onnx")],
      ["inspect", at("t.onnx"), "--json"],
      ["evaluate", m, "--data", `${at("data.csv")}:no\x1b[2Jsuch`],
      ["train", m, ...data, "--config", at("no\x1b[2J.yaml")],
    ];
    const failed: string[] = [];
    for (const words of commands) {
      const { code, stdout, stderr } = await cli(...words);
      const csv = words.includes("--csv") ? ".csv" : words.includes("--json") ? ".json" : ".txt";
      check(`stdout of ${words.join(" ")}${csv}`, stdout);
      expect(stderr, words.join(" ")).not.toMatch(raw);
      if (code !== 0 && !words.join().includes("\x1b")) failed.push(`${words[0]}: ${stderr}`);
    }
    expect(failed).toEqual([]);
    const files = readdirSync(folder.path, { recursive: true, encoding: "utf8" });
    const written = files.filter((file) => /\.(html|csv|jsonl?|yaml|txt)$/.test(file) && file !== "data.csv");
    expect(written.sort()).toEqual([
      ...["adapter_config.json", "angles.html", "evaluation.html"],
      ...["lora/config.yaml", "lora/report.html", "lora/run.json", "lora/run.jsonl", "p.csv", "p.jsonl"],
      ...["run/config.yaml", "run/report.html", "run/run.json", "run/run.jsonl"],
    ]);
    for (const file of written) check(file, readFileSync(at(file), "utf8"));
    // The names are there, as text.
    const { document } = parseHTML(readFileSync(at("evaluation.html"), "utf8"));
    expect(document.body.textContent).toContain("<img src=x onerror=alert(1)>");
    const answers = readFileSync(at("p.jsonl"), "utf8").trimEnd().split("\n");
    for (const line of answers) expect(names).toContain((JSON.parse(line) as { answer: string }).answer);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
  }, 120_000);
});
