import { defineConfig } from "vite";

// Threads of WebAssembly need a page that is isolated from other sites. Without these headers it trains on one thread.
const headers = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
};

export default defineConfig({
  // Both are ES modules for browsers already; found in the worker only, they would make Vite load the page again.
  optimizeDeps: { exclude: ["sorth-onnx", "onnxruntime-web"] },
  server: { headers },
  preview: { headers },
  worker: { format: "es" },
});
