import { readFileSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { decodeModel, encodeModel, inject, som } from "../../src/index.ts";
import {
  largestDifference,
  officialBatch,
  officialFile,
  officialPath,
  pytorch,
} from "../artifacts/official-fixtures.ts";
import type { TrainingBuild } from "../helpers/official-runtime.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { findChromium, patience, serve, testFlags } from "./browser.ts";

const executablePath = findChromium();
const missing = executablePath ? "" : "no Chromium is installed (apt-get install chromium, or CHROMIUM_PATH)";

const page = `<!doctype html><title>ONNX Runtime's training session</title>
<script type="module">
  import * as ort from "/node_modules/ort-web-training/dist/ort.training.wasm.min.mjs";
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  globalThis.ort = ort;
</script>`;

interface Batch {
  readonly x: { readonly data: number[]; readonly dims: number[] };
  readonly labels: number[];
}

declare const ort: TrainingBuild;

describe("ONNX Runtime's own training session in Chromium", () => {
  skipWithout(missing);
  let server: Awaited<ReturnType<typeof serve>>;
  let browser: Browser;
  let tab: Page;

  beforeAll(async () => {
    if (!executablePath) return;
    server = await serve(process.cwd(), page);
    browser = await chromium.launch({ executablePath, args: testFlags });
    tab = await browser.newPage();
    tab.setDefaultTimeout(patience);
    await tab.goto(server.url);
    await tab.waitForFunction("globalThis.ort");
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });

  for (const [name, figures] of Object.entries(pytorch.networks)) {
    it(`trains the injected ${name} as PyTorch does, and the plain one`, async () => {
      const plain = officialFile(`${name}/training_model.onnx`);
      const penalties = [{ penalty: som({ lambda1: 100 }), weight: pytorch.weight }];
      const injected = encodeModel(await inject(decodeModel(plain), { penalties }));
      const batches = Array.from({ length: 20 }, (_, index): Batch => {
        const { x, labels } = officialBatch(name, index);
        return { x: { data: x.numbers(), dims: [...x.dims] }, labels: labels.numbers() };
      });
      const text = (path: string) => readFileSync(officialPath(`${name}/${path}`)).toString("base64");
      for (const [model, expected] of [
        [plain, figures.plain.adamw],
        [injected, figures.som.adamw],
      ] as const) {
        const losses = await tab.evaluate(
          async ({ files, batches }) => {
            const bytes = (base64: string) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
            const session = await ort.TrainingSession.create({
              checkpointState: bytes(files.checkpoint),
              trainModel: bytes(files.training),
              optimizerModel: bytes(files.optimizer),
            });
            const result: number[] = [];
            for (const { x, labels } of batches) {
              const outputs = await session.runTrainStep({
                x: new ort.Tensor("float32", Float32Array.from(x.data), x.dims),
                labels: new ort.Tensor("int64", BigInt64Array.from(labels, BigInt), [labels.length]),
              });
              result.push(Number(outputs[session.trainingOutputNames[0] ?? ""]?.data[0]));
              await session.runOptimizerStep();
              await session.lazyResetGrad();
            }
            await session.release();
            return result;
          },
          {
            files: {
              checkpoint: text("checkpoint"),
              training: Buffer.from(model).toString("base64"),
              optimizer: text("optimizer_model.onnx"),
            },
            batches,
          },
        );
        expect(largestDifference(losses, expected)).toBeLessThan(1e-5);
      }
    });
  }
});
