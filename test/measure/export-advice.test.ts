import { describe, expect, it } from "vitest";
import { inspect, readModel } from "../../src/index.ts";

const folder = "test/fixtures/recipes";

async function aboutExport(name: string): Promise<string[]> {
  const { advice } = await inspect(await readModel(`${folder}/${name}.onnx`));
  return advice.filter((line) => line.includes("BatchNorm"));
}

// The files were written by scripts/export-recipes.py.
describe("advice on how a model was exported", () => {
  it.each(["torch-unoptimized", "torch-script-training"])("has nothing to say of %s", async (name) => {
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
    ["torch-default-train", "optimize=False"],
  ])("says that BatchNorm was folded in %s, also where Dropout is there", async (name, recipe) => {
    const [line, ...others] = await aboutExport(name);
    expect(line).toMatch(/^BatchNorm was folded/);
    expect(line).toContain(recipe);
    expect(others).toEqual([]);
  });

  it("names the recipe of the exporter that wrote the file", async () => {
    const [script] = await aboutExport("torch-script-eval");
    expect(script).toContain("dynamo=False, training=torch.onnx.TrainingMode.TRAINING");
    const [keras] = await aboutExport("keras");
    expect(keras).toContain("fold it always");
    expect(keras).not.toContain("torch");
  });
});
