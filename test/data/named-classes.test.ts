import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { conversionOf, type Dataset, loadData, readModel, replaceHead, writeModel } from "../../src/index.ts";
import { cli } from "../cli/run-cli.ts";

let folder: string;
const at = (name: string) => join(folder, name);
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-classes-"));
  const sharp = (await import("sharp")).default;
  for (const name of ["ant", "bee"]) {
    await mkdir(at(`photos/${name}`), { recursive: true });
    const background = { r: name === "ant" ? 200 : 20, g: 90, b: 90 };
    const image = sharp({ create: { width: 28, height: 28, channels: 3, background } });
    for (const i of [0, 1]) await image.clone().toFile(at(`photos/${name}/${i}.png`));
  }
  const row = (name: string) => `${Array.from({ length: 784 }, (_, i) => (i + name.length) % 3)},${name}`;
  const columns = Array.from({ length: 784 }, (_, i) => `c${i}`);
  const rows = ["ant", "bee", "ant", "bee"].map(row);
  await writeFile(at("table.csv"), [`${columns},kind`, ...rows].join("\n"));
});
afterAll(() => rm(folder, { recursive: true }));

const withNames = async (names: string[]) =>
  replaceHead(await readModel("models/mlp.onnx"), { classes: names });

function labelsOf({ size, labels }: Dataset): number[] {
  const found = new Float64Array(size);
  labels?.fill(
    Array.from({ length: size }, (_, i) => i),
    found,
  );
  return Array.from(found);
}

describe.each([
  ["a folder of images", "photos", [2, 2, 0, 0], "the folder"],
  ["a table", "table.csv", [2, 0, 2, 0], "the label"],
])("the classes that a model names, in %s,", (_, data, labels, what) => {
  const options = data.endsWith(".csv") ? { label: "kind" } : {};

  test("keep their order, and those without samples their place", async () => {
    const model = await withNames(["bee", "cow", "ant"]);
    const { train, conversion } = await loadData(at(data), { model, ...options });
    expect(labelsOf(train)).toEqual(labels);
    expect(conversion?.classes).toEqual(["bee", "cow", "ant"]);
    expect(train.y.classes).toBe(3);
  });

  test("are all that labels may be", async () => {
    const model = await withNames(["ant", "cow"]);
    await expect(loadData(at(data), { model, ...options })).rejects.toThrow(
      `${at(data)}: ${what} "bee" is none of the classes that the model names, ant, cow: give it others (--classes)`,
    );
    const classes = ["bee", "ant"];
    const { conversion } = await loadData(at(data), { model, classes, ...options });
    expect(conversion?.classes).toEqual(classes);
  });

  test("are in the trained file, and predict writes them", async () => {
    const [model, trained] = [at("named.onnx"), at(`${data}.trained.onnx`)];
    await writeModel(await withNames(["bee", "cow", "ant"]), model, { force: true });
    const flags = [
      "--batch",
      "2",
      "--penalty",
      "none",
      "--no-report",
      ...(options.label ? ["--label", "kind"] : []),
    ];
    const run = await cli("train", model, "--data", at(data), ...flags, "-o", trained);
    expect(run.stderr).not.toMatch(/error|otherwise than the one that trained/);
    expect(conversionOf(await readModel(trained))?.classes).toEqual(["bee", "cow", "ant"]);
    const again = at(`${data}.again.onnx`);
    const words = ["--classes", "ant,bee", "--data", at(data), ...flags, "-o", again];
    expect((await cli("train", trained, ...words)).code).toBe(0);
    const answers = at(`${data}.jsonl`);
    expect((await cli("predict", again, "--data", at(data), "-o", answers)).code).toBe(0);
    expect(conversionOf(await readModel(again))?.classes).toEqual(["ant", "bee"]);
  });
});
