import { existsSync, readFileSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  adamw,
  arrayDataset,
  crossEntropy,
  encodeModel,
  inject,
  inspect,
  readModel,
  som,
  Trainer,
} from "../../src/index.ts";
import { labels, uniform } from "../helpers/lcg.ts";
import { chromiumFlags, findChromium, serve } from "./browser.ts";

const executablePath = findChromium();
const built = existsSync("dist/web/index.js");
const missing = [
  executablePath ? "" : "no Chromium is installed (apt-get install chromium, or CHROMIUM_PATH)",
  built ? "" : "dist/web is not built (npm run build)",
]
  .filter(Boolean)
  .join("; ");

/** The built web entry as a page without a bundler loads it: only ONNX Runtime is mapped. */
const page = `<!doctype html><title>sorth-onnx</title>
<script type="importmap">
{ "imports": {
  "sorth-onnx/web": "/dist/web/index.js",
  "onnxruntime-web/webgpu": "/node_modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs"
} }
</script>
<script type="module">
  import * as sorth from "sorth-onnx/web";
  globalThis.sorth = sorth;
</script>`;

declare const sorth: typeof import("../../src/web.ts");

describe("sorth-onnx/web in Chromium", () => {
  let server: Awaited<ReturnType<typeof serve>>;
  let browser: Browser;
  let tab: Page;

  beforeAll(async () => {
    if (missing || !executablePath) return;
    server = await serve(process.cwd(), page);
    browser = await chromium.launch({ executablePath, args: chromiumFlags });
    tab = await browser.newPage();
    tab.on("pageerror", (error) => console.error(error));
    await tab.goto(server.url);
    await tab.waitForFunction("globalThis.sorth");
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  it("inspects a model as node does", async (context) => {
    context.skip(missing !== "", missing);
    const report = await tab.evaluate(async () => {
      const bytes = new Uint8Array(await (await fetch("/models/mlp.onnx")).arrayBuffer());
      return JSON.stringify(await sorth.inspect(await sorth.readModel(bytes)));
    });
    const expected = JSON.stringify(await inspect(await readModel("models/mlp.onnx")));
    expect(JSON.parse(report)).toEqual(JSON.parse(expected));
  });

  it("injects the same bytes as node, and strips them again", async (context) => {
    context.skip(missing !== "", missing);
    const { injected, stripped } = await tab.evaluate(async () => {
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

  for (const name of ["mlp", "cnn"]) {
    it(`trains the sample ${name} as node does, plain and with SOM, and resumes`, async (context) => {
      context.skip(missing !== "", missing);
      const samples = 64;
      const x = [...uniform(`web.${name}`, samples * 784)];
      const y = labels(`web.${name}`, samples, 10);
      for (const weight of [0, 0.1]) {
        const found = await tab.evaluate(
          async ({ path, x, y, weight }) => {
            const { Trainer, som, crossEntropy, adamw, arrayDataset, readModel } = sorth;
            const model = await readModel(new Uint8Array(await (await fetch(path)).arrayBuffer()));
            const data = arrayDataset(Float32Array.from(x), Int32Array.from(y), [1, 28, 28]);
            const penalties = weight === 0 ? [] : [{ penalty: som(), weight }];
            const options = { objective: crossEntropy(), optimizer: adamw(), penalties, batch: 16 };
            const losses: number[] = [];
            const first = await Trainer.create(model, options);
            for await (const event of first.fit(data, { epochs: 3, checkpoint: `runs/${weight}` })) {
              if (event.event === "step") losses.push(event.loss);
            }
            await first.release();
            const second = await Trainer.resume(`runs/${weight}`);
            for await (const event of second.fit(data, { epochs: 5 })) {
              if (event.event === "step") losses.push(event.loss);
            }
            const evaluation = await second.evaluate(data);
            await second.release();
            return { losses, loss: evaluation.loss };
          },
          { path: `/models/${name}.onnx`, x, y, weight },
        );
        const penalties = weight === 0 ? [] : [{ penalty: som(), weight }];
        const trainer = await Trainer.create(await readModel(`models/${name}.onnx`), {
          ...{ objective: crossEntropy(), optimizer: adamw(), penalties, batch: 16 },
        });
        const data = arrayDataset(Float32Array.from(x), Int32Array.from(y), [1, 28, 28]);
        const expected: number[] = [];
        for await (const event of trainer.fit(data, { epochs: 5 })) {
          if (event.event === "step") expected.push(event.loss);
        }
        const evaluation = await trainer.evaluate(data);
        await trainer.release();
        expect(found.losses).toHaveLength(20);
        for (const [step, loss] of expected.entries()) {
          const difference = Math.abs((found.losses[step] ?? Number.NaN) - loss) / Math.abs(loss);
          expect(difference, `step ${step + 1}, weight ${weight}`).toBeLessThan(1e-4);
        }
        expect(Math.abs(found.loss - evaluation.loss) / evaluation.loss).toBeLessThan(1e-3);
      }
    });
  }
});
