import { describe, expect, it } from "vitest";
import { encodeModel, inject, inspect, readModel, som, strip, verify } from "../../src/index.ts";

const folder = "test/fixtures/recipes";

async function aboutExport(name: string): Promise<string[]> {
  const { advice } = await inspect(await readModel(`${folder}/${name}.onnx`));
  return advice.filter((line) => line.includes("BatchNorm"));
}

// The files were written by scripts/export-recipes.py.
describe("advice on how a model was exported", () => {
  it.each([
    ...["torch-unoptimized", "torch-script-training"],
    ...["torch-2.8-training", "torch-2.8-dynamo-unoptimized"],
  ])("has nothing to say of %s", async (name) => {
    expect(await aboutExport(name)).toEqual([]);
    const { parameters } = await inspect(await readModel(`${folder}/${name}.onnx`));
    const norms = parameters.filter(({ reason }) => reason.includes("BatchNormalization"));
    expect(norms.map(({ name: parameter }) => parameter)).toEqual([
      "1.weight",
      "1.bias",
      "5.weight",
      "5.bias",
    ]);
  });

  it.each([
    ["torch-default-eval", "optimize=False"],
    ["torch-default-train", "export(…, optimize=False"],
    ["torch-2.8-dynamo-train", "dynamo=True, optimize=False"],
  ])("says that BatchNorm was folded in %s, also where Dropout is there", async (name, recipe) => {
    const [line, ...others] = await aboutExport(name);
    expect(line).toMatch(/^BatchNorm was folded/);
    expect(line).toContain(recipe);
    expect(others).toEqual([]);
  });

  it("names the recipe of the exporter that wrote the file", async () => {
    const [script] = await aboutExport("torch-script-eval");
    expect(script).toContain("dynamo=False, training=torch.onnx.TrainingMode.TRAINING");
    for (const older of ["torch-2.8-eval", "torch-2.8-functions"])
      expect(await aboutExport(older)).toEqual([expect.stringContaining("dynamo=False, training=")]);
    const [keras] = await aboutExport("keras");
    expect(keras).toContain("fold it always");
    expect(keras).not.toContain("torch");
  });
});

it.each([
  "torch-2.8-eval",
  "torch-2.8-training",
  "torch-2.8-functions",
  "torch-2.8-dynamo-train",
  "torch-2.8-dynamo-unoptimized",
])("last year's %s takes a penalty on every layer, and is stripped to the byte", async (name) => {
  const model = await readModel(`${folder}/${name}.onnx`);
  const injected = await inject(model, { penalties: [som()] });
  const { passed, checks } = await verify(model, injected);
  expect(checks.filter(({ status }) => status === "failed")).toEqual([]);
  expect(passed).toBe(true);
  expect(checks.filter(({ name: check }) => check.startsWith("penalty of ")).length).toBe(3);
  expect(encodeModel(strip(injected))).toEqual(encodeModel(model));
});
