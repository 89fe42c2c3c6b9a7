import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  angleReportPage,
  pictures,
  readModel,
  responseAngles,
  runRecord,
  runReportPage,
  Tensor,
  weightAngles,
} from "../../src/index.ts";
import { randomNormals } from "../helpers/numbers.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { convolution, responseLayer, weightLayer } from "../measure/layers.ts";
import { longRun } from "../report/runs.ts";
import { findChromium, patience, serve, testFlags } from "./browser.ts";

const executablePath = findChromium();
const missing = executablePath ? "" : "no Chromium is installed (apt-get install chromium, or CHROMIUM_PATH)";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Width of A4 within margins of 12 mm, and its height, in pixels of CSS. */
const paper = { width: 702, height: 1032 };

const views: Readonly<Record<string, BrowserContextOptions>> = {
  desktop: { viewport: { width: 1200, height: 800 }, colorScheme: "light" },
  "desktop, dark": { viewport: { width: 1200, height: 800 }, colorScheme: "dark" },
  phone: { viewport: { width: 360, height: 740 }, colorScheme: "light", isMobile: true },
  "phone, dark": { viewport: { width: 360, height: 740 }, colorScheme: "dark", isMobile: true },
};

/** Two models of real layers, the trained one with a long path and odd names. */
async function anglesOfTwo(): Promise<string> {
  const model = await readModel("models/cnn.onnx");
  const weights = await weightAngles(model, pictures);
  const x = Tensor.of("x", "float", [16, 1, 28, 28], randomNormals("report x", 16 * 784));
  const responses = await responseAngles(model, { x }, pictures);
  const odd = "/encoder/layers.11/attention.self/query/MatMul_with_a_long_name_without_any_break";
  const map = weights.layers[0]?.cosineMap;
  const layer = weightLayer(odd, { convolution, ...(map && { cosineMap: map }) });
  const skipped = [
    { name: "</style><script>alert(1)</script>", op: "Gemm" as const, reason: "one unit has no pairs" },
  ];
  return angleReportPage(
    [
      { model: "runs/plain.onnx", weights, responses },
      {
        model: `runs/${"long-name-".repeat(8)}.onnx`,
        weights: { layers: [...weights.layers, layer], skipped },
        responses: { layers: [...responses.layers, responseLayer(odd)], skipped: [] },
        run: runRecord(longRun()),
      },
    ],
    { data: "noise" },
  );
}

const nothingDone = "a run that did nothing";

const pages = {
  angles: anglesOfTwo,
  run: () => runReportPage(longRun(), { title: "Training run trained.run", facts: ["model.onnx on mnist."] }),
  [nothingDone]: () => runReportPage([]),
};

describe("report pages in Chromium", () => {
  skipWithout(missing);
  let browser: Browser;
  const texts = new Map<string, string>();
  beforeAll(async () => {
    if (!executablePath) return;
    browser = await chromium.launch({ executablePath, args: testFlags });
    for (const [name, write] of Object.entries(pages)) texts.set(name, await write());
  });
  afterAll(() => browser?.close());

  /** Opens a page as a user would, and notes what it says and asks for. */
  async function opened(name: string, options: BrowserContextOptions, look: (page: Page) => Promise<void>) {
    const server = await serve(process.cwd(), texts.get(name) ?? "");
    const context = await browser.newContext(options);
    const page = await context.newPage();
    page.setDefaultTimeout(patience);
    const noise: string[] = [];
    page.on("console", (message) => noise.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => noise.push(String(error)));
    page.on("dialog", (dialog) => {
      noise.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("request", (request) => {
      if (request.url() !== server.url) noise.push(`request: ${request.url()}`);
    });
    try {
      await page.goto(server.url);
      await look(page);
      expect(noise).toEqual([]);
    } finally {
      await context.close();
      await server.close();
    }
  }

  for (const name of Object.keys(pages)) {
    for (const [view, options] of Object.entries(views)) {
      if (name === nothingDone && view !== "phone") continue;
      it(`${name}, ${view}: fits the window, readable, no violations of accessibility, nothing loaded`, async () => {
        await opened(name, options, async (page) => {
          const found = await page.evaluate(() => {
            const box = (element: Element) => element.getBoundingClientRect();
            const pictures = [...document.querySelectorAll("figure svg")];
            // Pixels of the screen that letters of a picture are high.
            const letters = [...document.querySelectorAll("svg.chart")].map(
              (svg) => (11 * box(svg).width) / Number(svg.getAttribute("width")),
            );
            const edge = document.documentElement.clientWidth;
            return {
              wide: document.documentElement.scrollWidth - edge,
              wider: [...document.querySelectorAll("main *")]
                .filter((element) => box(element).right > edge + 1 && !element.closest(".scroll, svg"))
                .map((element) => `${element.tagName} ${element.textContent?.slice(0, 60)}`),
              outside: pictures.filter((svg) => box(svg).right > innerWidth || box(svg).width < 100).length,
              smallest: Math.min(...letters),
              style: getComputedStyle(document.body).backgroundColor,
              pictures: pictures.length,
            };
          });
          expect(found).toMatchObject({ wider: [], wide: 0, outside: 0 });
          expect(found.smallest).toBeGreaterThan(9);
          expect(found.style).toBe(options.colorScheme === "dark" ? "rgb(13, 17, 23)" : "rgb(246, 247, 249)");
          if (name !== nothingDone) expect(found.pictures).toBeGreaterThan(7);
          await page.evaluate(axe);
          const violations = await page.evaluate(async () => {
            // The script above has put it there.
            const { axe: checker } = globalThis as unknown as {
              axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
            };
            const { violations: found } = await checker.run();
            return found.map(
              ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`,
            );
          });
          expect(violations).toEqual([]);
        });
      });
    }

    it(`${name} on paper: light, whole figures, every table shown`, async () => {
      await opened(name, { viewport: paper, colorScheme: "dark" }, async (page) => {
        await page.emulateMedia({ media: "print", colorScheme: "dark" });
        const found = await page.evaluate(() => {
          const box = (element: Element) => element.getBoundingClientRect();
          const figures = [...document.querySelectorAll("figure")];
          const inside = (figure: Element) =>
            [...figure.querySelectorAll("svg")].every(
              (svg) => box(svg).left >= box(figure).left && box(svg).right <= box(figure).right + 0.5,
            );
          return {
            clipped: figures.filter((figure) => !inside(figure) || box(figure).right > innerWidth + 0.5)
              .length,
            tallest: Math.max(0, ...figures.map((figure) => box(figure).height)),
            hiddenTables: [...document.querySelectorAll("table")].filter((table) => box(table).height < 20)
              .length,
            ink: getComputedStyle(document.body).color,
          };
        });
        expect(found).toMatchObject({ clipped: 0, hiddenTables: 0, ink: "rgb(27, 31, 36)" });
        // A figure that is not cut in two has room on one sheet.
        expect(found.tallest).toBeLessThan(paper.height);
        const pdf = await page.pdf({ format: "A4", preferCSSPageSize: true });
        expect(pdf.subarray(0, 5).toString()).toBe("%PDF-");
        expect(pdf.length).toBeGreaterThan(name === nothingDone ? 1_000 : 30_000);
      });
    });
  }

  it("details open with the keyboard", async () => {
    await opened("angles", views.desktop ?? {}, async (page) => {
      const summary = page.locator("summary").first();
      const table = page.locator("details table").first();
      expect(await table.isVisible()).toBe(false);
      await summary.focus();
      await page.keyboard.press("Enter");
      expect(await table.isVisible()).toBe(true);
    });
  });
});
