import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  encodeModel,
  inject,
  inspect,
  readModel,
  responseAngles,
  som,
  Tensor,
  weightAngles,
} from "../../src/index.ts";
import { sampleData } from "../helpers/sample-data.ts";
import { useTab } from "./tab.ts";

declare const sorth: typeof import("../../src/web.ts");

describe("sorth-onnx/web in Chromium", () => {
  const tab = useTab();

  it("inspects a model as node does", async (context) => {
    context.skip(tab.missing !== "", tab.missing);
    const report = await tab.page.evaluate(async () => {
      const bytes = new Uint8Array(await (await fetch("/models/mlp.onnx")).arrayBuffer());
      return JSON.stringify(await sorth.inspect(await sorth.readModel(bytes)));
    });
    const expected = JSON.stringify(await inspect(await readModel("models/mlp.onnx")));
    expect(JSON.parse(report)).toEqual(JSON.parse(expected));
  });

  it("injects the same bytes as node, and strips them again", async (context) => {
    context.skip(tab.missing !== "", tab.missing);
    const { injected, stripped } = await tab.page.evaluate(async () => {
      const bytes = new Uint8Array(await (await fetch("/models/mlp.onnx")).arrayBuffer());
      const model = await sorth.inject(await sorth.readModel(bytes), { penalties: [sorth.som()] });
      return {
        injected: [...sorth.encodeModel(model)],
        stripped: [...sorth.encodeModel(sorth.strip(model))],
      };
    });
    const model = await inject(await readModel("models/mlp.onnx"), { penalties: [som()] });
    expect(Buffer.from(injected).equals(encodeModel(model))).toBe(true);
    expect(Buffer.from(stripped).equals(readFileSync("models/mlp.onnx"))).toBe(true);
  });

  it("measures angles as node does, without float64 in ONNX Runtime", async (context) => {
    context.skip(tab.missing !== "", tab.missing);
    const { x, shape } = await sampleData("cnn", 32);
    const found = await tab.page.evaluate(
      async ({ x, shape }) => {
        const model = await sorth.readModel(await (await fetch("/models/cnn.onnx")).arrayBuffer());
        const feeds = { x: sorth.Tensor.of("x", "float", [32, ...shape], Float32Array.from(x)) };
        const weights = await sorth.weightAngles(model);
        const responses = await sorth.responseAngles(model, feeds);
        const figures = ({ layers }: { layers: readonly { name: string; mean: number; spread: number }[] }) =>
          layers.map(({ name, mean, spread }) => ({ name, mean, spread }));
        return { weights: figures(weights), responses: figures(responses) };
      },
      { x, shape },
    );
    const model = await readModel("models/cnn.onnx");
    const feeds = { x: Tensor.of("x", "float", [32, ...shape], Float32Array.from(x)) };
    const expected = [await weightAngles(model), await responseAngles(model, feeds)] as const;
    for (const [index, layers] of [found.weights, found.responses].entries()) {
      expect(layers.length).toBe(6);
      for (const [i, { name, mean, spread }] of (expected[index]?.layers ?? []).entries()) {
        expect(layers[i]).toEqual({ name, mean: expect.closeTo(mean, 3), spread: expect.closeTo(spread, 3) });
      }
    }
  });
});
