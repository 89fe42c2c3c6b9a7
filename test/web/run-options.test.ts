import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { decodeModel, inspect, optimizerNames, som } from "../../src/index.ts";
import { clippings } from "../../src/optimizers/table.ts";
import { optimizerText } from "../../src/optimizers/text.ts";
import type { OpenedModel } from "../../web/worker/open-model.ts";
import { penaltyPlan, runOptions } from "../../web/worker/run-options.ts";
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

describe("the options of a run on the page", () => {
  const opened = { inspection, block: undefined, rescued: undefined } as unknown as OpenedModel;
  const options = (settings: object) =>
    runOptions("plain", opened, { ...standardSettings, loss: "cross-entropy", ...settings });

  it("leave pixels to the library unless a choice is made", () => {
    expect("normalize" in options({})).toBe(false);
    expect(options({ normalize: "none" }).normalize).toBe("none");
  });

  it.each(optimizerNames)("take the optimizer %s, behind what cuts gradients", (optimizer) => {
    expect(options({ optimizer }).optimizer?.name).toBe(optimizer);
    const clip = Object.fromEntries(clippings.map(({ flag }, i) => [flag, i + 2]));
    const cut = options({ optimizer, clip }).optimizer;
    const members = clippings.map(({ make }, i) => optimizerText(make(i + 2)));
    expect(cut && optimizerText(cut)).toBe([...members, optimizer].join(", then "));
  });
});
