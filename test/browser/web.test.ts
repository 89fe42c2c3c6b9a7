import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  type Dataset,
  decodeModel,
  encodeModel,
  inject,
  inspect,
  readModel,
  responseAngles,
  som,
  Tensor,
  weightAngles,
} from "../../src/index.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { sampleData } from "../helpers/sample-data.ts";
import { useTab } from "./tab.ts";

declare const sorth: typeof import("../../src/web.ts");

/** Forms in which exporters write Dropout: without its third input, or with it; with its mask as an output of the model. */
const dropoutForms: readonly { opset: number; training?: boolean; mask?: boolean }[] = [
  ...[
    { opset: 11, mask: true },
    { opset: 12 },
    { opset: 13, training: false },
    { opset: 18, training: true },
  ],
  { opset: 22, training: true, mask: true },
];

/** A small network with Dropout in each form. */
function dropoutModels(): Uint8Array[] {
  return dropoutForms.map(({ opset, training, mask }) => {
    const builder = new GraphBuilder(opset);
    const { graph } = builder;
    const x = builder.input("x", ["batch", 8]);
    const layer = (input: Value, name: string, units: number, inputs: number) =>
      builder.op(
        "Gemm",
        [input, builder.weight(`${name}.weight`, [units, inputs]), builder.weight(`${name}.bias`, [units])],
        name,
        { transB: 1 },
      );
    const hidden = builder.op("Relu", [layer(x, "fc1", 16, 8)], "relu");
    const inputs: Value[] = [hidden];
    if (opset >= 12) inputs.push(graph.addInitializer(Tensor.float("ratio", [], [0.25])));
    if (training !== undefined) {
      inputs.push(graph.addInitializer(Tensor.of("training", "bool", [], Uint8Array.of(Number(training)))));
    }
    const [dropped, drawn] = builder.many("Dropout", inputs, mask ? ["dropped", "mask"] : ["dropped"]);
    graph.addOutput(layer(dropped as Value, "fc2", 4, 16));
    if (drawn) graph.addOutput(drawn);
    return encodeModelProto(graphToProto(graph));
  });
}

describe("sorth-onnx/web in Chromium", () => {
  const tab = useTab();

  it("inspects every export as node does, training forms and Dropout too", async () => {
    const exports = readdirSync("test/fixtures/exports").filter((name) => name.endsWith(".onnx"));
    const files = exports.map((name) => readFileSync(join("test/fixtures/exports", name)));
    const models = [readFileSync("models/mlp.onnx"), ...files, ...dropoutModels()];
    const found = await tab.page.evaluate(
      async (models) => {
        const reports: unknown[] = [];
        for (const text of models) {
          const model = await sorth.readModel(Uint8Array.from(atob(text), (char) => char.charCodeAt(0)));
          try {
            reports.push(await sorth.inspect(model, { batch: 4 }));
          } catch (error) {
            reports.push(String(error));
          }
        }
        return JSON.stringify(reports);
      },
      models.map((bytes) => Buffer.from(bytes).toString("base64")),
    );
    const expected: unknown[] = [];
    for (const bytes of models) expected.push(await inspect(decodeModel(bytes), { batch: 4 }));
    expect(JSON.parse(found)).toEqual(JSON.parse(JSON.stringify(expected)));
  });

  it("verifies, differentiates and trains models with Dropout, whose kernel ONNX Runtime leaves out", async () => {
    const found = await tab.page.evaluate(
      async (models) => {
        const results: unknown[] = [];
        for (const bytes of models) {
          const model = await sorth.readModel(Uint8Array.from(bytes));
          const report = await sorth.verify(model, await sorth.inject(model, { penalties: [sorth.som()] }));
          const options = { objective: sorth.crossEntropy(), batch: 4 };
          const { masks } = await sorth.differentiate(model, options);
          const trainer = await sorth.Trainer.create(model, options);
          const x = Float32Array.from({ length: 64 }, (_, index) => Math.sin(index));
          const data = sorth.arrayDataset(
            x,
            Int32Array.from({ length: 8 }, (_, row) => row % 4),
            [8],
          );
          let steps = 0;
          for await (const { event } of trainer.fit(data, { epochs: 1 })) steps += event === "step" ? 1 : 0;
          const { samples } = await trainer.evaluate(data);
          await trainer.release();
          results.push({ passed: report.passed, masks: masks.size, steps, samples });
        }
        return results;
      },
      dropoutModels().map((bytes) => [...bytes]),
    );
    // In inference form nothing is drawn outside of training.
    expect(found).toEqual(
      dropoutForms.map(({ training }) => ({
        ...{ passed: true, masks: training === true ? 1 : 0 },
        ...{ steps: 2, samples: 8 },
      })),
    );
  });

  it("injects the same bytes as node, and strips them again", async () => {
    const { injected, stripped } = await tab.page.evaluate(async () => {
      const bytes = new Uint8Array(await (await fetch("/models/mlp.onnx")).arrayBuffer());
      const model = await sorth.inject(await sorth.readModel(bytes), { penalties: [sorth.som()] });
      const digest = async (bytes: Uint8Array) =>
        [...new Uint8Array(await crypto.subtle.digest("SHA-256", bytes as BufferSource))].join();
      return {
        injected: await digest(sorth.encodeModel(model)),
        stripped: await digest(sorth.encodeModel(sorth.strip(model))),
      };
    });
    const model = await inject(await readModel("models/mlp.onnx"), { penalties: [som()] });
    const digest = (bytes: Uint8Array) => [...createHash("sha256").update(bytes).digest()].join();
    expect(injected).toBe(digest(encodeModel(model)));
    expect(stripped).toBe(digest(readFileSync("models/mlp.onnx")));
  });

  it("measures angles as node does, without float64 in ONNX Runtime", async () => {
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

  it("decodes images while it trains on them, few at a time, with the bits of the same images as arrays", async () => {
    const found = await tab.page.evaluate(async () => {
      const { Trainer, loadImages, arrayDataset, readModel, crossEntropy } = sorth;
      const [images, batch, pixels] = [96, 16, 784];
      const canvas = new OffscreenCanvas(28, 28);
      const pen = canvas.getContext("2d") as OffscreenCanvasRenderingContext2D;
      const files = [];
      for (let i = 0; i < images; i++) {
        pen.fillStyle = `hsl(0 0% ${i}%)`;
        pen.fillRect(0, 0, 28, 28);
        pen.fillStyle = "white";
        pen.fillRect(4 * (i % 3), i % 17, 6, 9);
        const content = await canvas.convertToBlob({ type: "image/png" });
        files.push({ path: `set/${"abc"[i % 3]}/${i}.png`, content });
      }
      let [decoded, open, most] = [0, 0, 0];
      const make = createImageBitmap;
      globalThis.createImageBitmap = (async (image: Blob) => {
        open += 1;
        most = Math.max(most, open);
        const bitmap = await make(image);
        decoded += 1;
        const close = bitmap.close.bind(bitmap);
        bitmap.close = () => {
          open -= 1;
          close();
        };
        return bitmap;
      }) as typeof createImageBitmap;
      const model = await readModel(new Uint8Array(await (await fetch("/models/mlp.onnx")).arrayBuffer()));
      const runs = [];
      const run = async (dataset: Dataset) => {
        decoded = 0;
        const trainer = await Trainer.create(model, {
          ...{ objective: crossEntropy(), batch, stepsPerRun: 1, backend: "wasm" },
        });
        const seen = [];
        for await (const { event, loss } of trainer.fit(dataset, { epochs: 2 })) {
          if (event === "step") seen.push({ loss, decoded });
        }
        runs.push({ losses: seen.map(({ loss }) => loss), decoded: seen.map((one) => one.decoded), open });
        await trainer.release();
      };
      const shape = [1, 28, 28];
      for (const memory of [0, 2 ** 20]) {
        const { train } = await loadImages(files, { shape, memory });
        runs.push({ losses: [], decoded: [decoded], open });
        await run(train);
        decoded = 0;
        if (memory > 0) {
          const [x, y] = [new Uint8Array(images * pixels), new Int32Array(images)];
          await train.fill(Array.from(y.keys()), x, y);
          await run(arrayDataset(x, y, shape));
        }
      }
      globalThis.createImageBitmap = make;
      return { runs, most };
    });
    const [loaded, streamed, again, held, arrays] = found.runs;
    expect([loaded?.decoded, again?.decoded]).toEqual([[0], [0]]);
    expect(streamed?.losses).toHaveLength(12);
    expect(streamed?.losses).toEqual(arrays?.losses);
    expect(held?.losses).toEqual(arrays?.losses);
    // A caller that looks at step k finds the images of one more step under way, and never those of two.
    for (const [k, decoded] of (streamed?.decoded ?? []).entries()) {
      expect(decoded).toBeGreaterThanOrEqual(16 * (k + 1));
      expect(decoded).toBeLessThanOrEqual(16 * Math.min(k + 2, 12));
    }
    expect(streamed?.decoded.at(-1)).toBe(192);
    expect(held?.decoded.at(-1)).toBe(96);
    expect(found.runs.map(({ open }) => open)).toEqual([0, 0, 0, 0, 0]);
    expect(found.most).toBeLessThanOrEqual(16);
  });
});
