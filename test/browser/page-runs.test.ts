import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, describe, expect, it } from "vitest";
import { npz } from "../cli/npz.ts";
import { temporaryFolder } from "../cli/run-cli.ts";
import { chromiumFlags, patience } from "./browser.ts";
import { download, figure, fill, usePageBrowser, waitForStatus } from "./page-tab.ts";

const folder = temporaryFolder();
afterAll(() => folder.remove());

/** Few digits, small batches: an epoch of 8 steps. */
async function small(page: Page, epochs: number): Promise<void> {
  await fill(page, { "train-samples": 256, "test-samples": 64, epochs, batch: 32 });
  await waitForStatus(page, /^(Ready to train|Finished)/);
}

const press = (page: Page, name: string) => page.getByRole("button", { name, exact: true }).click();
const steps = async (page: Page) => Number.parseInt(await figure(page, "step", "som"), 10);

/**
 * Begins a run and pauses it as soon as it has done a step. Pressed from inside the page, the moment that the button
 * allows it: a short run would be over before a press from outside arrives.
 */
async function trainSomeSteps(page: Page): Promise<void> {
  await page.evaluate(
    () =>
      new Promise<void>((resolve) => {
        const element = <T extends HTMLElement>(selector: string) => document.querySelector(selector) as T;
        const pause = element<HTMLButtonElement>("#pause");
        let last = "";
        const observer = new MutationObserver(() => {
          const text = pause.disabled ? "" : pause.innerText;
          if (text === last) return;
          last = text;
          const steps = Number.parseInt(element('[data-figure="step"][data-run="som"]').innerText, 10);
          if (text === "Resume" && steps > 0) {
            observer.disconnect();
            resolve();
          } else if (text !== "") pause.click();
        });
        observer.observe(pause, { attributes: true, childList: true, characterData: true, subtree: true });
        element("#train").click();
      }),
  );
  await waitForStatus(page, /^Paused/);
}

describe("a run in the page", () => {
  // With the compilation of WebAssembly that people have: the page's quickness is measured.
  const browser = usePageBrowser(chromiumFlags);

  it("pauses, goes on, is reset, and leaves the page quick", async () => {
    const { page, faults } = await browser.shared();
    await small(page, 500);
    await press(page, "Train");
    await waitForStatus(page, /step [1-9]/);
    expect(await page.locator("#epochs").isDisabled()).toBe(true);
    // The longest times in which the page answered nobody, while both runs train. One of three may be another program's.
    const longest = await page.evaluate(async () => {
      const longest: number[] = [];
      for (let window = 0; window < 3; window++) {
        let [last, most] = [performance.now(), 0];
        for (const end = last + 500; last < end; ) {
          await new Promise((resolve) => setTimeout(resolve, 0));
          const now = performance.now();
          [last, most] = [now, Math.max(most, now - last)];
        }
        longest.push(most);
      }
      return longest;
    });
    expect(Math.min(...longest)).toBeLessThan(500);
    await press(page, "Pause");
    await waitForStatus(page, /^Paused/);
    const paused = await steps(page);
    expect(await figure(page, "step", "plain")).toBe(await figure(page, "step", "som"));
    expect(Number(await figure(page, "measured", "som"))).toBe(paused);
    await page.waitForTimeout(400);
    expect(await steps(page)).toBe(paused);
    await press(page, "Resume");
    await waitForStatus(page, /^Epoch/);
    await expect.poll(() => steps(page), { timeout: patience }).toBeGreaterThan(paused);
    await press(page, "Reset");
    await waitForStatus(page, /Ready to train/);
    expect(await figure(page, "step", "som")).toBe("–");
    expect(await page.locator("#epochs").isEnabled()).toBe(true);
    await fill(page, { epochs: 1 });
    await press(page, "Train");
    await waitForStatus(page, /^Finished\. Epoch 1 of 1, step 8 of 8/);
    expect(faults).toEqual([]);
  });

  it("goes on bit for bit after its tab was closed", async () => {
    const whole = await browser.shared();
    await small(whole.page, 10);
    await press(whole.page, "Train");
    await waitForStatus(whole.page, /^Finished/);
    const expected = readFileSync((await download(whole.page, "som")).path);
    const accuracy = await figure(whole.page, "accuracy", "som");

    const first = await browser.open();
    const tabs = first.page.context();
    await small(first.page, 10);
    await trainSomeSteps(first.page);
    expect(await steps(first.page)).toBeLessThan(80);
    await first.page.close();

    const second = await browser.open({ context: tabs });
    const banner = second.page.locator("#kept");
    await banner.getByText(/mlp on MNIST, stopped at step \d+ of 80/).waitFor();
    await banner.getByRole("button", { name: "Go on" }).click();
    await waitForStatus(second.page, /^Finished\. Epoch 10 of 10, step 80 of 80/);
    expect(await figure(second.page, "accuracy", "som")).toBe(accuracy);
    expect(readFileSync((await download(second.page, "som")).path).equals(expected)).toBe(true);
    // The curves go on too: the table of the first chart begins at step 0.
    const chart = second.page.locator("figure.chart").first();
    await chart.locator("summary").click();
    expect(await chart.locator("tbody th").first().innerText()).toBe("0");
    expect([...first.faults, ...second.faults]).toEqual([]);

    // Another tab does not take the run away, and says that its own is not kept.
    const third = await browser.open({ context: tabs });
    await small(third.page, 1);
    expect(await third.page.locator("#kept").isHidden()).toBe(true);
    await press(third.page, "Train");
    await waitForStatus(third.page, /^Finished/);
    expect(await third.page.locator("#messages").innerText()).toContain(
      "another tab of this page keeps its run",
    );
    await tabs.close();
  });

  it("asks for the data again where they are the user's own, and takes no others", async () => {
    for (const [name, count] of [
      ["mine.npz", 80],
      ["others.npz", 90],
    ] as const) {
      writeFileSync(
        join(folder.path, name),
        npz(count, [1, 28, 28], (index) => index % 10),
      );
    }
    const choose = async (page: Page, name: string) => {
      await page.locator('input[name="data"][value="own"]').check();
      await page.locator("#data-file").setInputFiles(join(folder.path, name));
    };
    const first = await browser.open();
    await waitForStatus(first.page, /Ready to train/);
    await first.page.locator("#model-files").setInputFiles("models/mlp.onnx");
    await choose(first.page, "mine.npz");
    await fill(first.page, { epochs: 40, batch: 32 });
    await waitForStatus(first.page, /Ready to train/);
    await trainSomeSteps(first.page);
    await first.page.close();

    const { page, faults } = await browser.open({ context: first.page.context() });
    await page
      .locator("#kept", { hasText: "mlp on mine.npz" })
      .getByRole("button", { name: "Go on" })
      .click();
    await page
      .locator("#messages", { hasText: "to go on, choose the data again: mine.npz: 64 + 16 samples" })
      .waitFor();
    await choose(page, "others.npz");
    await page.locator("#data-summary", { hasText: "the run was begun with other data" }).waitFor();
    await choose(page, "mine.npz");
    await waitForStatus(page, /^Finished\. Epoch 40 of 40, step 80 of 80/);
    // The model came out of the storage, which a reset empties: it is kept with the next run again.
    await press(page, "Reset");
    await waitForStatus(page, /Ready to train/);
    await fill(page, { epochs: 1 });
    await press(page, "Train");
    await waitForStatus(page, /^Finished\. Epoch 1 of 1/);
    expect(await page.locator("#messages").innerText()).not.toContain("will be lost");
    expect([...first.faults, ...faults]).toEqual([]);
    await page.context().close();
  });

  it("stops a run whose loss is no number any more, and goes on with the other", async () => {
    const { page, faults } = await browser.shared();
    await small(page, 2);
    await fill(page, { "learning-rate": "1e20", weight: 0 });
    await page.locator("#optimizer").selectOption("sgd");
    await press(page, "Train");
    await waitForStatus(page, /^Stopped/);
    expect(await page.locator("#alert").innerText()).toMatch(
      /the loss became \S+ at step \d+.*lower the learning rate/,
    );

    await fill(page, { "learning-rate": "0.01", weight: "1e30" });
    await press(page, "Train");
    await waitForStatus(page, /^Finished/);
    expect(await page.locator("#alert").innerText()).toMatch(/^The run with SOM stopped: the loss became/);
    expect(await figure(page, "step", "plain")).toBe("16 of 16");
    expect(faults).toEqual([]);
  });
});
