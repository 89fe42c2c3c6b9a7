import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import puppeteer from "puppeteer-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type PageServer, servePage } from "../../src/cli/page-server.ts";
import { mnistFolder } from "../../src/data/mnist-node.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { findChromium, findFirefox, patience, testFlags } from "./browser.ts";

const [firefoxPath, chromiumPath] = [findFirefox(), findChromium()];
const missing = [
  firefoxPath ? "" : "no Firefox is installed (apt-get install firefox-esr, or FIREFOX_PATH)",
  chromiumPath ? "" : "no Chromium is installed (apt-get install chromium, or CHROMIUM_PATH)",
  existsSync("dist/page/index.html") ? "" : "dist/page is not built (npm run page)",
]
  .filter(Boolean)
  .join("; ");

/** What is done in a page and read from it; the page itself runs it, so that every browser does the same. */
async function trainInPage(): Promise<{
  status: string;
  environment: string;
  figures: Record<string, string>;
}> {
  const element = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
  const said = async (pattern: RegExp) => {
    while (!pattern.test(element("status").textContent ?? "")) {
      if (element("alert").textContent) throw new Error(element("alert").textContent ?? "");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const settings = { "train-samples": 128, "test-samples": 64, batch: 32, epochs: 1, "learning-rate": 0.001 };
  await said(/Ready to train/);
  for (const [id, value] of Object.entries(settings)) {
    element<HTMLInputElement>(id).value = String(value);
    element(id).dispatchEvent(new Event("change", { bubbles: true }));
  }
  element<HTMLSelectElement>("backend").value = "wasm";
  await said(/Ready to train/);
  element("train").click();
  await said(/^Finished/);
  const cells = [...document.querySelectorAll<HTMLElement>("[data-figure]")];
  const figures = cells.map(({ dataset, textContent }) => [
    `${dataset.figure} ${dataset.run}`,
    textContent ?? "",
  ]);
  return {
    status: element("status").textContent ?? "",
    environment: element("environment").textContent ?? "",
    figures: Object.fromEntries(figures.filter(([name = ""]) => !name.startsWith("speed"))),
  };
}

describe("the page in Firefox", () => {
  skipWithout(missing);
  let server: PageServer;
  beforeAll(async () => {
    if (!missing) server = await servePage({ folder: "dist/page", mnist: mnistFolder(), port: 0 });
  });
  afterAll(() => server?.close());

  it("trains on WebAssembly, with the figures of Chromium", async () => {
    const firefox = await puppeteer.launch({ browser: "firefox", executablePath: firefoxPath ?? "" });
    const other = await chromium.launch({ executablePath: chromiumPath ?? "", args: testFlags });
    try {
      const page = await firefox.newPage();
      const faults: unknown[] = [];
      page.on("pageerror", (error) => faults.push(error));
      await page.goto(server.url);
      const found = await page.evaluate(trainInPage);
      page.setDefaultTimeout(patience);
      const tab = await other.newPage();
      tab.setDefaultTimeout(patience);
      await tab.goto(server.url);
      const expected = await tab.evaluate(trainInPage);
      expect(found.status).toMatch(/^Finished\. Epoch 1 of 1, step 4 of 4, on WebAssembly/);
      expect(found.environment).toMatch(/^WebAssembly: \d threads? · WebGPU: /);
      expect(Object.keys(found.figures).length).toBeGreaterThan(8);
      expect(found.figures).toEqual(expected.figures);
      expect(faults).toEqual([]);
    } finally {
      await firefox.close();
      await other.close();
    }
  });
});
