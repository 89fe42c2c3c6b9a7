import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { conversionOf, readModel } from "../../src/index.ts";
import { npz } from "./npz.ts";
import { cli, temporaryFolder } from "./run-cli.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);

beforeAll(() => {
  copyFileSync("models/mlp.onnx", at("m.onnx"));
  writeFileSync(
    at("d.npz"),
    npz(24, [1, 28, 28], (index) => index % 3),
  );
  writeFileSync(at("names.txt"), "cat\r\ndog\nfox\n");
});
afterAll(() => folder.remove());

test("head writes a model with the classes of a file, and predict names them", async () => {
  const { code, stderr } = await cli("head", at("m.onnx"), "--classes", at("names.txt"));
  expect({ code, stderr }).toEqual({
    code: 0,
    stderr: expect.stringMatching(/3 new units of \d+ weights/),
  });
  expect(conversionOf(await readModel(at("m.head.onnx")))?.classes).toEqual(["cat", "dog", "fox"]);
  const predicted = await cli("predict", at("m.head.onnx"), "--data", at("d.npz"), "-o", at("p.csv"));
  expect(predicted.code).toBe(0);
  const [heading, ...rows] = readFileSync(at("p.csv"), "utf8").trim().split("\n");
  expect(heading).toBe("sample,answer,score.cat,score.dog,score.fox");
  for (const row of rows) expect(row).toMatch(/^\d+,(cat|dog|fox),/);
  const evaluated = await cli("evaluate", at("m.head.onnx"), "--data", at("d.npz"), "--json");
  const { classes } = JSON.parse(evaluated.stdout).classes;
  expect(classes.map(({ name }: { name?: string }) => name)).toEqual(["cat", "dog", "fox"]);
});

test("train --classes trains the new layer, and a stopped run goes on with it", async () => {
  const run = [
    "--data",
    at("d.npz"),
    "--batch",
    "8",
    "--epochs",
    "2",
    "--classes",
    "cat,dog,fox",
    "--no-report",
  ];
  const whole = await cli("train", at("m.onnx"), ...run, "-o", at("whole.onnx"));
  expect({ code: whole.code, stderr: whole.stderr }).toEqual({
    code: 0,
    stderr: expect.stringMatching(/new head: .* has 3 new units/),
  });
  await cli("train", at("m.onnx"), ...run, "--max-steps", "2", "-o", at("half.onnx"));
  const resume = ["--resume", at("half.run"), "--epochs", "2", "--force"];
  for (const path of [[], [at("m.onnx")]]) {
    if (path.length > 0)
      await cli("train", at("m.onnx"), ...run, "--max-steps", "2", "-o", at("half.onnx"), "--force");
    expect((await cli("train", ...path, ...resume)).code).toBe(0);
    expect((await readModel(at("half.onnx"))).proto.graph).toEqual(
      (await readModel(at("whole.onnx"))).proto.graph,
    );
  }
  // The data have numbers as labels; the names are those of --classes.
  for (const name of ["whole", "half"])
    expect(conversionOf(await readModel(at(`${name}.onnx`)))?.classes).toEqual(["cat", "dog", "fox"]);
  const refused = await cli("train", "--resume", at("half.run"), "--classes", "4");
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("leave out --classes") });
});

test.each([
  [["--classes", "0"], 2, /number of classes must be a whole number of 1 or more/],
  [["--classes", "a,,b"], 2, /name 2 is empty/],
  [["--classes", "none.txt"], 1, /cannot read "none.txt"/],
  [[], 2, /say which classes the model gets: --classes N/],
])("head %s is refused", async (flags, expected, reason) => {
  const { code, stderr } = await cli("head", at("m.onnx"), ...flags, "-o", at("refused.onnx"));
  expect({ code, stderr }).toEqual({ code: expected, stderr: expect.stringMatching(reason) });
  expect(existsSync(at("refused.onnx"))).toBe(false);
});
