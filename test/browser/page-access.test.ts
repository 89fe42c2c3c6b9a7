import axe from "axe-core";
import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { figure, fill, usePageBrowser, waitForStatus } from "./page-tab.ts";

/** Rules of WCAG 2.2 A and AA, and good practice, that the page breaks. */
async function violations(page: Page): Promise<string[]> {
  const found = await page.evaluate(async () => {
    const { violations } = await (globalThis as unknown as { axe: typeof axe }).axe.run();
    return violations.map(
      ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(" | ")}`,
    );
  });
  return found;
}

/** Presses Tab until an element has the focus; each element on the way must show that it has it. */
async function tabTo(page: Page, selector: string, most = 60): Promise<void> {
  for (let i = 0; i < most; i++) {
    await page.keyboard.press("Tab");
    const { arrived, seen } = await page.evaluate((wanted) => {
      const element = document.activeElement as HTMLElement;
      const { outlineStyle } = getComputedStyle(element);
      return { arrived: element.matches(wanted), seen: outlineStyle !== "none" };
    }, selector);
    expect(seen, `the element before ${selector}`).toBe(true);
    if (arrived) return;
  }
  throw new Error(`Tab does not lead to ${selector}`);
}

const focused = (page: Page) => page.evaluate(() => document.activeElement?.id ?? "");

describe("access to the page", () => {
  const browser = usePageBrowser();

  it("everything is done with the keyboard", async () => {
    const { page, faults } = await browser.shared();
    await waitForStatus(page, /Ready to train/);
    const type = async (selector: string, text: string) => {
      await tabTo(page, selector);
      await page.keyboard.press("ControlOrMeta+A");
      await page.keyboard.type(text);
    };
    await tabTo(page, 'input[name="model"]');
    expect(await page.evaluate(() => (document.activeElement as HTMLInputElement).value)).toBe("mlp");
    await type("#train-samples", "256");
    await type("#test-samples", "64");
    await tabTo(page, 'input[type="range"]');
    await page.keyboard.press("ArrowRight");
    expect(Number(await page.locator("#weight").inputValue())).toBeGreaterThan(0.1);
    await type("#epochs", "400");
    await type("#batch", "32");
    await waitForStatus(page, /Ready to train/);
    await tabTo(page, "#train");
    await page.keyboard.press("Enter");
    await waitForStatus(page, /step [1-9]/);
    // The button that was pressed is gone for now: the focus lies on what can be pressed next.
    expect(await focused(page)).toBe("pause");
    await page.keyboard.press("Space");
    await waitForStatus(page, /^Paused/);
    expect(await focused(page)).toBe("pause");
    const spoken = await page.locator("#spoken").innerText();
    expect(spoken).toMatch(/^Paused\. Epoch \d+ of 400, step \d+ of 3,200, on WebAssembly; plain .*right/);
    await tabTo(page, '[data-download="som"]');
    const [file] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("Enter")]);
    expect(file.suggestedFilename()).toMatch(/^mlp-som-step-\d+\.onnx$/);
    await tabTo(page, "figure.chart summary");
    await page.keyboard.press("Enter");
    await page.locator("figure.chart table", { hasText: "step" }).first().waitFor();
    await tabTo(page, "#layer");
    await page.keyboard.press("ArrowDown");
    await page
      .locator("figure.canvas", { hasText: "Cosines, SOM" })
      .getByText(/mean .*largest/)
      .waitFor();
    for (let i = 0; i < 40 && (await focused(page)) !== "reset"; i++) await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Enter");
    await waitForStatus(page, /Ready to train/);
    expect(await focused(page)).toBe("train");
    expect(faults).toEqual([]);
  });

  it("axe finds nothing: light and dark, wide and as narrow as a phone, before, in and after a run", async () => {
    const { page, faults } = await browser.shared();
    // By the keyboard: a click waits for frames of a window that does not change, and this test changes it all the time.
    const press = (selector: string) => page.locator(selector).press("Enter");
    const look = async (state: string) => {
      for (const [colorScheme, width] of [
        ["light", 1280],
        ["dark", 360],
      ] as const) {
        await page.emulateMedia({ colorScheme });
        await page.setViewportSize({ width, height: 900 });
        expect(await violations(page), `${state}, ${colorScheme}`).toEqual([]);
        const { scrollWidth, clientWidth } = await page.evaluate(() => {
          const { scrollWidth, clientWidth } = document.documentElement;
          return { scrollWidth, clientWidth };
        });
        expect(scrollWidth, `${state}, ${width} pixels`).toBe(clientWidth);
      }
    };
    await page.evaluate(axe.source);
    await waitForStatus(page, /Ready to train/);
    await fill(page, { "train-samples": 256, "test-samples": 64, batch: 32, epochs: 300 });
    await waitForStatus(page, /Ready to train/);
    await look("before");
    await press("#train");
    await waitForStatus(page, /step [1-9]/);
    await press("#pause");
    await waitForStatus(page, /^Paused/);
    for (const summary of await page.locator("figure.chart summary").all()) await summary.press("Enter");
    await look("paused");
    await press("#reset");
    await waitForStatus(page, /Ready to train/);
    expect(await figure(page, "step", "som")).toBe("–");
    await page.locator("#model-files").setInputFiles("package.json");
    await page.locator("#model-summary .error").waitFor();
    await look("refused");
    expect(faults).toEqual([]);
  });
});
