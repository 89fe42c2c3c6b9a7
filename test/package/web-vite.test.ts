import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Browser, chromium } from "playwright-core";
import * as vite from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { findChromium, isolated, patience, serve, testFlags } from "../browser/browser.ts";
import { skipWithout } from "../helpers/skip-without.ts";
import { installedProject, type Project, unbuilt } from "./installed.ts";

const executablePath = findChromium();
const missing = [
  unbuilt,
  executablePath ? "" : "no Chromium is installed (apt-get install chromium, or CHROMIUM_PATH)",
]
  .filter(Boolean)
  .join("; ");

const isolation = {
  isolated,
  "not isolated": {
    "Cross-Origin-Opener-Policy": "unsafe-none",
    "Cross-Origin-Embedder-Policy": "unsafe-none",
  },
};
type Headers = Readonly<Record<string, string>>;

let project: Project;
let browser: Browser;
beforeAll(async () => {
  if (missing || !executablePath) return;
  project = installedProject();
  const own = join(project.path, "node_modules/sorth-onnx");
  cpSync(join(own, "examples/web-vite"), project.path, { recursive: true });
  mkdirSync(join(project.path, "public"));
  copyFileSync(join(own, "models/mlp.onnx"), join(project.path, "public/model.onnx"));
  browser = await chromium.launch({ executablePath, args: testFlags });
});
afterAll(async () => {
  await browser?.close();
  project?.remove();
});

/** Vite's own file of the template, and what a test needs: quiet, and packages that are links. */
const config = (more: vite.InlineConfig): vite.InlineConfig => ({
  root: project.path,
  logLevel: "error",
  ...more,
});

async function devServer(headers: Headers) {
  const server = await vite.createServer(config({ server: { headers, port: 0, fs: { strict: false } } }));
  await server.listen();
  return { url: server.resolvedUrls?.local[0] ?? "", close: () => server.close() };
}

const staticServer = (folder: string, headers: Headers) =>
  serve(folder, readFileSync(join(folder, "index.html"), "utf8"), headers);

/** What the page writes, until a line that ends it. */
async function written(url: string): Promise<string[]> {
  const page = await browser.newPage();
  await page.goto(url);
  const log = page.locator("#log");
  await page
    .locator("#log", { hasText: /accuracy|error|stopped/ })
    .waitFor({ timeout: patience })
    .catch(() => {});
  const text = await log.innerText();
  await page.close();
  return text.trim().split("\n");
}

it("docs/web.md shows what the example does, line by line", () => {
  const [, shown = ""] = /```js\n([\s\S]+?)```/.exec(readFileSync("docs/web.md", "utf8")) ?? [];
  const lines = shown.split("\n").filter((line) => line !== "");
  expect(lines.length).toBeGreaterThan(10);
  expect(readFileSync("examples/web-vite/worker.js", "utf8").split("\n")).toEqual(
    expect.arrayContaining(lines),
  );
});

describe("examples/web-vite, as installed, in Chromium", () => {
  skipWithout(missing);
  it("says what to do when a build with threads lacks ONNX Runtime's loader as a file of its own", async () => {
    // In the page itself: each thread would load the page's script again, which looks for a document.
    const root = join(project.path, "without-loader");
    mkdirSync(root);
    const script = readFileSync(join(project.path, "worker.js"), "utf8")
      .replace(/^env\.wasm\.wasmPaths = .*$/m, "")
      .replaceAll("postMessage(", 'document.querySelector("#log").append("\\n", ');
    writeFileSync(join(root, "main.js"), script);
    copyFileSync(join(project.path, "index.html"), join(root, "index.html"));
    // All in one script: where the library is a file apart, its threads load that one, and start.
    await vite.build({
      root,
      logLevel: "error",
      publicDir: join(project.path, "public"),
      build: { rolldownOptions: { output: { codeSplitting: false } } },
    });
    const server = await staticServer(join(root, "dist"), isolation.isolated);
    const page = await browser.newPage();
    await page.clock.install();
    await Promise.all([page.waitForEvent("pageerror"), page.goto(server.url)]);
    // Not ten minutes: the page's own clock runs ahead.
    await page.clock.runFor(601_000);
    const text = await page.locator("#log", { hasText: "error" }).innerText();
    await page.close();
    await server.close();
    expect(text.trim()).toMatch(
      /^error: ONNX Runtime does not start in this page: .* Let its loader be a file of its own \(env\.wasm\.wasmPaths/,
    );
  });

  let built = "";
  for (const [name, headers] of Object.entries(isolation)) {
    const threads = name === "isolated" ? 2 : 1;
    it(`trains in vite dev and in a build, ${name}`, async () => {
      if (!built) {
        await vite.build(config({}));
        built = join(project.path, "dist");
      }
      for (const open of [() => devServer(headers), () => staticServer(built, headers)]) {
        const server = await open();
        const lines = await written(server.url).finally(server.close);
        expect(lines).toEqual([
          `${threads} of WebAssembly's threads`,
          ...[1, 2, 3].map((epoch) => expect.stringMatching(new RegExp(`^epoch ${epoch}: loss [\\d.]+$`))),
          "accuracy 1",
        ]);
      }
    });
  }
});
