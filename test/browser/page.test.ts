import { readFileSync } from "node:fs";
import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { type Dataset, loadMnist, readModel, strip } from "../../src/index.ts";
import { accuracyInNode, download, figure, fill, number, usePageBrowser, waitForStatus } from "./page-tab.ts";

const testSamples = 200;

/** Drops a file on the page, as a file manager does. */
async function drop(page: Page, name: string, bytes: Uint8Array): Promise<void> {
  await page.evaluate(
    ({ name, base64 }) => {
      const transfer = new DataTransfer();
      const content = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      transfer.items.add(new File([content], name));
      for (const type of ["dragover", "drop"]) {
        document.body.dispatchEvent(
          new DragEvent(type, { dataTransfer: transfer, bubbles: true, cancelable: true }),
        );
      }
    },
    { name, base64: Buffer.from(bytes).toString("base64") },
  );
}

describe("the page", () => {
  const browser = usePageBrowser();

  for (const backend of ["wasm", "webgpu"] as const) {
    it(`trains a dropped model on ${backend}, and what is downloaded is as good in node${backend === "webgpu" ? "; a lost GPU is said" : ""}`, async () => {
      const { page, faults } = await browser.open();
      await waitForStatus(page, /Ready to train/);
      await drop(page, "dropped.onnx", readFileSync("models/mlp.onnx"));
      await page.locator("#model-summary", { hasText: "dropped.onnx" }).waitFor();
      await fill(page, { "train-samples": 320, "test-samples": testSamples });
      await fill(page, { epochs: 2, batch: 32, "learning-rate": 0.001, weight: 1 });
      await page.locator("#backend").selectOption(backend);
      await waitForStatus(page, /Ready to train/);
      await page.getByRole("button", { name: "Train", exact: true }).click();
      await waitForStatus(page, /^Finished\. Epoch 2 of 2, step 20 of 20/);
      expect(await page.locator("#status").innerText()).toContain(
        backend === "wasm" ? "WebAssembly" : "WebGPU",
      );

      // SOM's response angles went towards 90°, and are nearer than those of the plain run.
      const chart = page.locator("figure.chart", { hasText: "Response angles" });
      await chart.locator("summary").click();
      await chart.locator("tbody td").first().waitFor();
      const first = await chart.locator("tbody tr").first().locator("td").allInnerTexts();
      const [before, beforeSom] = first.map(number);
      expect(beforeSom).toBe(before);
      const [plain, som] = [
        number(await figure(page, "response", "plain")),
        number(await figure(page, "response", "som")),
      ];
      expect(som).toBeLessThan(Math.min(before ?? 0, plain) - 2);

      const digits = (await loadMnist()).test as Dataset;
      for (const run of ["plain", "som"] as const) {
        const shown = number(await figure(page, "accuracy", run)) / 100;
        const file = await download(page, run);
        expect(file.name).toBe(`dropped-${run}-step-20.onnx`);
        const found = await accuracyInNode(file.path, digits, testSamples);
        // WebAssembly and the CPU round alike here; a GPU may tip one digit.
        expect(Math.abs(found - shown)).toBeLessThanOrEqual(
          backend === "wasm" ? 1e-9 : 1 / testSamples + 1e-9,
        );
        expect(found).toBeGreaterThan(0.2);
      }
      const injected = await readModel((await download(page, "injected")).path);
      expect(Buffer.from(strip(injected).bytes).equals(readFileSync("models/mlp.onnx"))).toBe(true);
      expect(faults).toEqual([]);

      if (backend === "webgpu") {
        // With the last session ONNX Runtime destroys its device: that one is not lost, and the next run has another.
        await fill(page, { "train-samples": 64, epochs: 1 });
        await waitForStatus(page, /Ready to train/);
        await page.getByRole("button", { name: "Train", exact: true }).click();
        await waitForStatus(page, /^Finished\. Epoch 1 of 1, step 2 of 2, on WebGPU/);
        expect(await page.locator("#alert").innerText()).toBe("");
        const shown = await figure(page, "accuracy", "som");
        await browser.crashGpu();
        await page
          .locator("#alert", { hasText: /the GPU was lost.*continue it above with WebAssembly/ })
          .waitFor();
        await page
          .locator("#kept", { hasText: "A run is kept in this browser: dropped on MNIST, ended" })
          .waitFor();
        await page.locator("#kept").getByRole("button", { name: "Show" }).click();
        await waitForStatus(page, /^Finished\. Epoch 1 of 1, step 2 of 2, on WebAssembly/);
        const now = await figure(page, "accuracy", "som");
        expect(Math.abs(number(now) - number(shown))).toBeLessThanOrEqual(100 / testSamples);
        expect(await page.locator("#alert").innerText()).toBe("");
        // What Chromium itself says of the crash is no fault of the page.
        expect(faults.filter((fault) => !/GPU|device/i.test(fault))).toEqual([]);
      }
      await page.context().close();
    });
  }
});
