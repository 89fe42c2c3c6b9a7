import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { LogLevel, type ProjectReflection } from "typedoc";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { apiText, documentation, type Example, examplesOf, exportsOf } from "../../scripts/public-api.ts";
import * as node from "../../src/index.ts";
import { Trainer as TrainerCore } from "../../src/runtime/trainer.ts";
import { npz } from "../cli/npz.ts";

const folder = resolve("out/api-examples");
const remarks: string[] = [];
let project: ProjectReflection;

beforeAll(async () => {
  const app = await documentation();
  app.logger.log = (message, level) => void (level >= LogLevel.Warn && remarks.push(message));
  const converted = await app.convert();
  if (!converted) throw new Error(remarks.join("\n"));
  app.validate(converted);
  project = converted;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  copyFileSync("models/mlp.onnx", join(folder, "model.onnx"));
  copyFileSync("test/fixtures/single/flat.script.onnx", join(folder, "single.onnx"));
  copyFileSync("models/cnn.onnx", join(folder, "cnn.onnx"));
  for (const name of ["bert.onnx", "reviews.parquet"]) {
    copyFileSync(join("test/fixtures/hugging-face", name), join(folder, name));
  }
  mkdirSync(join(folder, "artifacts"));
  for (const name of ["training_model.onnx", "checkpoint"])
    copyFileSync(join("test/fixtures/official/mlp", name), join(folder, "artifacts", name));
  writeFileSync(
    join(folder, "data.npz"),
    npz(32, [20], (index) => index % 5),
  );
  writeFileSync(
    join(folder, "digits.npz"),
    npz(128, [1, 28, 28], (index) => index % 10),
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Guides whose code is checked as examples in comments are. */
const guides = [
  ...["docs/from-lightning.md", "docs/from-keras.md", "docs/angles.md", "docs/artifacts.md"],
  ...["docs/from-hugging-face.md", "docs/from-tensorflow-js.md", "docs/distribute.md", "docs/federated.md"],
];

/** The TypeScript in these guides. */
const examplesOfGuides = (): Example[] =>
  guides.flatMap((of) =>
    [...readFileSync(of, "utf8").matchAll(/```ts\n([\s\S]+?)```/g)].map(([, code = ""]) => ({ of, code })),
  );

/** The examples as modules beside each other, with the sources in the place of the package. */
function written(examples: readonly Example[]): string[] {
  const sources = (subject = "") =>
    relative(folder, { "": "src/index.ts", web: "src/web.ts" }[subject] ?? `src/${subject}/public.ts`);
  return examples.map(({ code }, index) => {
    const path = join(folder, `example-${index}.ts`);
    const own = code.replace(/"sorth-onnx(?:\/(\w+))?"/g, (_, subject?: string) =>
      JSON.stringify(sources(subject)),
    );
    // A few steps show what an epoch shows.
    writeFileSync(path, `${own.replaceAll("{ epochs: 3 }", "{ maxSteps: 3 }")}\nexport {};\n`);
    return path;
  });
}

describe("the public API", () => {
  it("is what public-api.txt lists: a change of it is seen (update with vitest -u)", async () => {
    await expect(apiText(exportsOf(project))).toMatchFileSnapshot("public-api.txt");
  });

  it("has a text for every name, leads nowhere that is not exported, and shows no type that is not", () => {
    expect(remarks).toEqual([]);
  });

  it("has in the main entry, still, the names of one subject that meant nothing alone", () => {
    const old = exportsOf(project).filter(({ entry, deprecated }) => entry === "sorth-onnx" && deprecated);
    expect(old.length).toBeGreaterThan(20);
    for (const { name } of old) expect(node).toHaveProperty(name);
  });

  it("has examples that are right as TypeScript", () => {
    const ofGuides = examplesOfGuides();
    expect(new Set(ofGuides.map(({ of }) => of))).toEqual(new Set(guides));
    const examples = [...examplesOf(project), ...ofGuides];
    expect(examples.length).toBeGreaterThan(18 + guides.length);
    const { config } = ts.readConfigFile("tsconfig.json", ts.sys.readFile);
    const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ".");
    const files = written(examples);
    const program = ts.createProgram(files, {
      ...options,
      ...{ noEmit: true, incremental: false, noUnusedLocals: false },
    });
    const faults = files.flatMap((file, index) =>
      ts
        .getPreEmitDiagnostics(program, program.getSourceFile(file))
        .map(
          ({ messageText }) => `${examples[index]?.of}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`,
        ),
    );
    expect(faults).toEqual([]);
  });

  it("has examples that run", async () => {
    const all = [...examplesOf(project), ...examplesOfGuides()];
    const examples = all.filter(({ code }) => !code.includes("sorth-onnx/web"));
    const before = process.cwd();
    const log = console.log;
    const files = written(examples);
    process.chdir(dirname(files[0] ?? ""));
    console.log = () => {};
    try {
      for (const file of files) await import(pathToFileURL(file).href);
    } finally {
      console.log = log;
      process.chdir(before);
    }
  });

  it("takes penalties alone or in plans, and no optimizer for AdamW, in every function that builds a step", async () => {
    const model = await node.readModel("models/mlp.onnx");
    const options = { objective: node.crossEntropy(), batch: 4 };
    const full = { ...options, penalties: [{ penalty: node.som() }], optimizer: node.adamw() };
    const brief = { ...options, penalties: [node.som()] };
    const bytes = ({ model }: node.Step) => node.encodeModel(model);
    expect(bytes(await node.buildStep(model, brief))).toEqual(bytes(await node.buildStep(model, full)));
    const updates = [await node.buildSplitStep(model, brief), await node.buildSplitStep(model, full)];
    const [first, second] = updates.map(({ update }) => node.encodeModel(update));
    expect(first).toEqual(second);
  });

  it("has a Trainer that instanceof tells, in node as in browsers", async () => {
    const model = await node.readModel("models/mlp.onnx");
    const trainer = await node.Trainer.create(model, {
      objective: node.crossEntropy(),
      penalties: [node.som()],
      batch: 4,
    });
    expect(trainer).toBeInstanceOf(node.Trainer);
    await trainer.save(join(folder, "run"));
    await trainer.release();
    const resumed = await node.Trainer.resume(join(folder, "run"));
    expect(resumed).toBeInstanceOf(node.Trainer);
    expect(resumed.step.penalized).toEqual(trainer.step.penalized);
    await resumed.release();
    const web = await import("../../src/web.ts");
    expect(web.Trainer.prototype).toBeInstanceOf(TrainerCore);
    expect(resumed).not.toBeInstanceOf(web.Trainer);
  });
});
