import { existsSync, readFileSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { delimiter, extname, join, normalize } from "node:path";

/** A Chromium that is installed: CHROMIUM_PATH, or one on the PATH. */
export const findChromium = (): string | undefined =>
  findProgram(process.env.CHROMIUM_PATH, ["chromium", "chromium-browser", "google-chrome"]);

/** A Firefox that is installed: FIREFOX_PATH, or one on the PATH. */
export const findFirefox = (): string | undefined =>
  findProgram(process.env.FIREFOX_PATH, ["firefox-esr", "firefox"]);

function findProgram(given: string | undefined, names: readonly string[]): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const candidates = [given ?? "", ...names.flatMap((name) => folders.map((folder) => join(folder, name)))];
  return candidates.find((path) => path !== "" && existsSync(path));
}

/** Flags for a Chromium in a container, with software WebGPU and no traffic of its own. */
export const chromiumFlags = [
  "--no-sandbox",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--disable-quic",
  "--enable-unsafe-webgpu",
];

/**
 * The same for tests. Most of their time went into V8's optimizing compiler, which works on tens of megabytes of WebAssembly after
 * each load of a page: here functions are compiled when they are called first, and once.
 */
export const testFlags = [...chromiumFlags, "--js-flags=--wasm-lazy-compilation --no-wasm-tier-up"];

/**
 * Milliseconds that a page may take for anything, as long as nothing is wrong. Playwright's 30 s are too few where two cores serve
 * other tests too; what waits for nothing is ended by the test's own limit.
 */
export const patience = 120_000;

const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

/** Headers that threads of WebAssembly need. */
export const isolated = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

/** Prefix of a script's address for workers, which have no import map: ONNX Runtime's entry is named by its place. */
export const forWorkers = "/for-workers/";

/** ONNX Runtime's entry for browsers, as a page without a bundler loads it. */
export const ortScript = "/node_modules/onnxruntime-web/dist/ort.webgpu.bundle.min.mjs";

/**
 * Serves `page` at `/` and the files below `root` on the loopback interface, with the headers that threads need unless others are given.
 * @returns the address of the page, and what ends the server
 */
export async function serve(
  root: string,
  page: string,
  headers: Readonly<Record<string, string>> = isolated,
): Promise<{ url: string; close: () => Promise<void> }> {
  const server: Server = createServer((request, response) => {
    const path = normalize(new URL(request.url ?? "/", "http://localhost").pathname);
    if (path === "/") {
      response.writeHead(200, { ...headers, "Content-Type": "text/html" }).end(page);
      return;
    }
    const isForWorkers = path.startsWith(forWorkers);
    const file = join(root, isForWorkers ? path.slice(forWorkers.length) : path);
    if (!existsSync(file) || !statSync(file).isFile()) {
      response.writeHead(404, headers).end();
      return;
    }
    const type = types[extname(file)] ?? "application/octet-stream";
    response
      .writeHead(200, { ...headers, "Content-Type": type })
      .end(
        isForWorkers
          ? readFileSync(file, "utf8").replaceAll(/(["'`])onnxruntime-web\/webgpu\1/g, `"${ortScript}"`)
          : readFileSync(file),
      );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
