import { existsSync } from "node:fs";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll } from "vitest";
import { addition } from "../helpers/addition.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { findChromium, ortScript, patience, serve, testFlags } from "./browser.ts";

/** The built web entry as a page without a bundler loads it: only ONNX Runtime is mapped. */
const page = `<!doctype html><title>sorth-onnx</title>
<script type="importmap">
{ "imports": {
  "sorth-onnx/web": "/dist/web/index.js",
  "onnxruntime-web/webgpu": "${ortScript}"
} }
</script>
<script type="module">
  import * as ort from "onnxruntime-web/webgpu";
  import * as sorth from "sorth-onnx/web";
  Object.assign(globalThis, { ort, sorth });
</script>`;

/** A page of a describe block. */
export interface Tab {
  /** The page, with `globalThis.sorth`, everything that sorth-onnx/web exports, and `globalThis.ort`, ONNX Runtime. */
  readonly page: Page;
}

/** Options of {@link useTab}. */
export interface TabOptions {
  /**
   * Keeps a WebGPU session open in the page. ONNX Runtime drops the device, and with it every shader that it compiled, when the
   * last session is released; a software GPU compiles for most of a test's time.
   */
  readonly keepDevice?: boolean;
}

declare const ort: typeof import("onnxruntime-web/webgpu");

/** Opens the built web entry in Chromium before the tests of a describe block, and closes it after them. Without it the tests are skipped. */
export function useTab({ keepDevice = false }: TabOptions = {}): Tab {
  const executablePath = findChromium();
  const missing = [
    executablePath ? "" : "no Chromium is installed (apt-get install chromium, or CHROMIUM_PATH)",
    existsSync("dist/web/index.js") ? "" : "dist/web is not built (npm run build)",
  ]
    .filter(Boolean)
    .join("; ");
  skipWithout(missing);
  let server: Awaited<ReturnType<typeof serve>> | undefined;
  let browser: Browser | undefined;
  let tab: Page | undefined;
  beforeAll(async () => {
    if (missing || !executablePath) return;
    server = await serve(process.cwd(), page);
    browser = await chromium.launch({ executablePath, args: testFlags });
    tab = await browser.newPage();
    tab.setDefaultTimeout(patience);
    tab.on("pageerror", (error) => console.error(error));
    await tab.goto(server.url);
    await tab.waitForFunction("globalThis.sorth");
    if (keepDevice) {
      const held = async (bytes: readonly number[]) => {
        const options = { executionProviders: ["webgpu"], logSeverityLevel: 4 } as const;
        Object.assign(globalThis, {
          keeper: await ort.InferenceSession.create(Uint8Array.from(bytes), options),
        });
      };
      await tab.evaluate(held, [...addition()]);
    }
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });
  return {
    get page() {
      if (!tab) throw new Error("the page is not open yet");
      return tab;
    },
  };
}
