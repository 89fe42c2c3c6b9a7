import { describe, expect, it } from "vitest";
import { figure, fill, number, usePageBrowser, waitForStatus } from "./page-tab.ts";

describe("a GPU that is lost", () => {
  const browser = usePageBrowser();

  it("is said, and the kept run goes on with WebAssembly", async (context) => {
    context.skip(browser.missing !== "", browser.missing);
    const { page, faults } = await browser.open();
    await waitForStatus(page, /Ready to train/);
    await fill(page, { "train-samples": 128, "test-samples": 64, batch: 32, epochs: 5 });
    await page.locator("#backend").selectOption("webgpu");
    await waitForStatus(page, /Ready to train/);
    await page.locator("#train").click();
    await waitForStatus(page, /step [1-9].* on WebGPU/);
    await page.locator("#pause").click();
    await waitForStatus(page, /^Paused/);
    const step = number(await figure(page, "step", "som"));
    await browser.crashGpu();
    await page.locator("#alert", { hasText: /the GPU was lost/ }).waitFor();
    await page.locator("#kept", { hasText: `stopped at step ${step} of 20` }).waitFor();
    await page.locator("#kept").getByRole("button", { name: "Go on" }).click();
    await waitForStatus(page, /^Finished\. Epoch 5 of 5, step 20 of 20, on WebAssembly/);
    expect(await page.locator("#alert").innerText()).toBe("");
    // What Chromium itself says of the crash is no fault of the page.
    expect(faults.filter((fault) => !/GPU|WebGPU|device/i.test(fault))).toEqual([]);
    await page.context().close();
  }, 90_000);
});
