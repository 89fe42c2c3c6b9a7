import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeModel, inspect, som } from "../../src/index.ts";
import { penaltyPlan } from "../../web/worker/run-options.ts";
import { standardSettings } from "../../web/worker/summarize-model.ts";

const inspection = await inspect(decodeModel(new Uint8Array(readFileSync("models/mlp.onnx"))));

const leftOut = { ...standardSettings, onOutputs: false };

describe("the penalty of a run on the page", () => {
  it("is SOM by the library's defaults, on every layer", () => {
    const { penalty, weight, exclude } = penaltyPlan({ inspection }, standardSettings);
    expect([penalty.options, weight, exclude]).toEqual([som().options, som.definition.weight, undefined]);
  });

  it("leaves out the layer whose response is the model's output if asked to", () => {
    const { exclude } = penaltyPlan({ inspection }, leftOut);
    expect(inspection.sites.map(({ name }) => exclude?.test(name))).toEqual([false, false, true]);
  });

  it("takes it all the same where there is no other layer", () => {
    const alone = { ...inspection, sites: inspection.sites.filter(({ isOutput }) => isOutput) };
    expect(alone.sites).toHaveLength(1);
    expect(penaltyPlan({ inspection: alone }, leftOut).exclude).toBeUndefined();
  });

  it("takes names as they are, not as regular expressions", () => {
    const sites = inspection.sites.map((site, i) => ({ ...site, name: ["a.b", "axb", "a.b(c)"][i] ?? "" }));
    const { exclude } = penaltyPlan({ inspection: { ...inspection, sites } }, leftOut);
    expect(["a.b", "axb", "a.b(c)", "a.bc"].map((name) => exclude?.test(name))).toEqual([
      false,
      false,
      true,
      false,
    ]);
  });
});
