import { type CDPSession, chromium, type Page } from "playwright-core";
import { servePage } from "../../src/cli/page-server.ts";
import { mnistFolder } from "../../src/data/mnist-node.ts";
import { chromiumFlags, findChromium, serve } from "../../test/browser/browser.ts";
import { leakModel } from "../../test/helpers/leak-model.ts";
import { type Reading, readingsPerRun, type Soak } from "./measures.ts";
import { heldByChildren } from "./processes.ts";
import { sizes, type Work, workOf } from "./work.ts";

/** The built web entry as a page without a bundler loads it. */
const bare = `<!doctype html><title>soak</title>
<script type="importmap">
{ "imports": {
  "sorth-onnx/web": "/dist/web/index.js",
  "onnxruntime-web/webgpu": "/node_modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs"
} }
</script>
<script type="module">Object.assign(globalThis, { sorth: await import("sorth-onnx/web") })</script>`;

/** Opens an address in Chromium for some work, and closes the browser after it. */
async function* inChromium(
  url: string,
  work: (page: Page, read: (at: number) => Promise<Reading>) => AsyncGenerator<Reading>,
): AsyncGenerator<Reading> {
  const executablePath = findChromium();
  if (!executablePath)
    throw new Error("no Chromium is installed (apt-get install chromium, or CHROMIUM_PATH)");
  const browser = await chromium.launch({ executablePath, args: chromiumFlags });
  try {
    const page = await browser.newPage();
    page.on("pageerror", (error) => console.error(`page: ${error.message}`));
    await page.goto(url);
    const tools = await page.context().newCDPSession(page);
    await tools.send("Performance.enable");
    yield* work(page, (at) => reading(at, page, tools));
  } finally {
    await browser.close();
  }
}

/** What browser and page hold, after a collection. */
async function reading(at: number, page: Page, tools: CDPSession): Promise<Reading> {
  await page.requestGC();
  const { metrics } = await tools.send("Performance.getMetrics");
  const metric = (key: string) => metrics.find(({ name }) => name === key)?.value ?? 0;
  const [nodes, listeners] = [metric("Nodes"), metric("JSEventListeners")];
  return { at, held: { ...heldByChildren(), heap: metric("JSHeapUsedSize") / 2 ** 20, nodes, listeners } };
}

/** Steps, or trainers made and released, in a page of Chromium. */
export function browserSoak(backend: string, unit: "steps" | "trainers", amount: number, leak: number): Soak {
  async function* readings(): AsyncGenerator<Reading> {
    const server = await serve(process.cwd(), bare);
    try {
      yield* inChromium(server.url, async function* (page, read) {
        await page.waitForFunction("globalThis.sorth");
        const given = { ...sizes, backend, leak, file: [...leakModel().bytes] };
        // tsx names functions with a helper of its own, which a page does not have.
        await page.evaluate("globalThis.__name = (made) => made");
        await page.evaluate(`globalThis.work = (${workOf.toString()})(sorth, ${JSON.stringify(given)})`);
        const count = Math.min(readingsPerRun, amount);
        for (let done = 0, index = 1; index <= count; index++) {
          const until = Math.round((amount * index) / count);
          await page.evaluate(doWork, { unit, count: until - done });
          done = until;
          yield read(done);
        }
      });
    } finally {
      await server.close();
    }
  }
  return { name: `${unit} on ${backend} in Chromium`, amount, unit, readings };
}

async function doWork({ unit, count }: { unit: string; count: number }): Promise<void> {
  const { work } = globalThis as unknown as { work: Work };
  if (unit === "steps") await work.steps(count);
  else for (let index = 0; index < count; index++) await work.trainer();
}

/** The page of `sorth-onnx demo`, left training. */
export function pageSoak(minutes: number): Soak {
  async function* readings(): AsyncGenerator<Reading> {
    const server = await servePage({ folder: "dist/page", mnist: mnistFolder(), port: 0 });
    try {
      yield* inChromium(server.url, async function* (page, read) {
        const status = (text: RegExp) => page.locator("#status", { hasText: text }).waitFor();
        await status(/^Ready to train/);
        // Few samples: many epochs, each with a measurement, a checkpoint and pictures.
        for (const [id, value] of Object.entries({
          "train-samples": 1000,
          "test-samples": 200,
          epochs: 10_000,
        })) {
          await page.locator(`#${id}`).fill(String(value));
          await page.locator(`#${id}`).blur();
        }
        await status(/^Ready to train/);
        await page.getByRole("button", { name: "Train", exact: true }).click();
        await status(/step [1-9]/);
        const began = performance.now();
        const count = Math.max(readingsPerRun, minutes * 2);
        for (let index = 1; index <= count; index++) {
          const next = began + (minutes * 60_000 * index) / count;
          await page.waitForTimeout(Math.max(0, next - performance.now()));
          const text = await page.locator("#status").innerText();
          if (!/^Epoch/.test(text)) throw new Error(`the page stopped training: ${text}`);
          yield read((performance.now() - began) / 60_000);
        }
        console.error(`the page after ${minutes} minutes: ${await page.locator("#status").innerText()}`);
      });
    } finally {
      await server.close();
    }
  }
  return { name: "the page left training", amount: minutes, unit: "minutes", readings };
}
