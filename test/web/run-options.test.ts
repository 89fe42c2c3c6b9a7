import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeModel, inspect } from "../../src/index.ts";
import { penaltyPlan } from "../../web/worker/run-options.ts";
import { standardSettings } from "../../web/worker/summarize-model.ts";

const inspection = await inspect(decodeModel(new Uint8Array(readFileSync("models/mlp.onnx"))));

describe("the penalty of a run on the page", () => {
  it("leaves out the layer whose response is the model's output", () => {
    const { exclude, weight } = penaltyPlan({ inspection }, standardSettings);
    expect(weight).toBe(0.1);
    expect(inspection.sites.map(({ name }) => exclude?.test(name))).toEqual([false, false, true]);
  });

  it("takes it if asked to, and where there is no other layer", () => {
    expect(penaltyPlan({ inspection }, { ...standardSettings, onOutputs: true }).exclude).toBeUndefined();
    const alone = { ...inspection, sites: inspection.sites.filter(({ isOutput }) => isOutput) };
    expect(alone.sites).toHaveLength(1);
    expect(penaltyPlan({ inspection: alone }, standardSettings).exclude).toBeUndefined();
  });

  it("takes names as they are, not as regular expressions", () => {
    const sites = inspection.sites.map((site, i) => ({ ...site, name: ["a.b", "axb", "a.b(c)"][i] ?? "" }));
    const { exclude } = penaltyPlan({ inspection: { ...inspection, sites } }, standardSettings);
    expect(["a.b", "axb", "a.b(c)", "a.bc"].map((name) => exclude?.test(name))).toEqual([
      false,
      false,
      true,
      false,
    ]);
  });
});
