import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { encodeModel, inject, inspect, readModel, som } from "../../src/index.ts";
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
});
