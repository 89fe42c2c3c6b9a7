import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readModel, Tensor } from "../../src/index.ts";
import { cli } from "../cli/run-cli.ts";

// Inside the package, so that the examples find ONNX Runtime.
const folder = resolve("out/inner-values");
const guide = readFileSync("docs/inner-values.md", "utf8");

beforeAll(async () => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  copyFileSync("models/cnn.onnx", join(folder, "cnn.onnx"));
  for (const output of ["cnn.tapped.onnx", "cnn.vjp.onnx"]) {
    const line = new RegExp(`^ {4}sorth-onnx (.* -o ${output})$`, "m").exec(guide)?.[1] ?? "";
    const argv = line.replaceAll('"', "").split(" ");
    const { code, stderr } = await cli(
      ...argv.map((word) => (word.startsWith("cnn.") ? join(folder, word) : word)),
    );
    expect({ code, stderr }).toMatchObject({ code: 0 });
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs the guide's example that contains a text, with its files in the folder. @returns what it has under these names */
async function example(text: string, names: readonly string[]): Promise<Record<string, unknown>> {
  const code =
    [...guide.matchAll(/```ts\n([\s\S]+?)```/g)].find(([, block]) => block?.includes(text))?.[1] ?? "";
  const path = join(folder, `${text}.ts`);
  const placed = code.replaceAll(/"(cnn\.\w+\.onnx)"/g, (_, name) => JSON.stringify(join(folder, name)));
  writeFileSync(path, `${placed.replaceAll("console.log", "void")}\nexport { ${names.join(", ")} };\n`);
  return import(/* @vite-ignore */ path);
}

test("the first example shows an inner value", async () => {
  const { relu5 } = await example("fill", ["relu5"]);
  expect((relu5 as Tensor).dims).toEqual([1, 32, 7, 7]);
});

test("Grad-CAM is that of the plain formula", async () => {
  const { heat, answer, maps } = (await example("heat", ["heat", "answer", "maps"])) as {
    heat: Float32Array;
    answer: number;
    maps: Float32Array;
  };
  // Behind the maps lie the mean over their places and one product, so the class activation map is known.
  const { initializer } = (await readModel("models/cnn.onnx")).proto.graph ?? {};
  const weight = Tensor.fromProto(initializer?.find(({ name }) => name === "logits.weight") ?? {}).numbers();
  const expected = Array.from({ length: 49 }, (_, place) => {
    let sum = 0;
    for (let map = 0; map < 32; map++) {
      sum += ((weight[answer * 32 + map] ?? Number.NaN) / 49) * (maps[map * 49 + place] ?? Number.NaN);
    }
    return Math.max(sum, 0);
  });
  expect(heat).toHaveLength(49);
  expect(Math.max(...expected)).toBeGreaterThan(0);
  expected.forEach((number, place) => {
    expect(heat[place]).toBeCloseTo(number, 6);
  });
});
