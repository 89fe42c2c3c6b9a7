import { defineConfig, type Plugin, type UserConfig } from "vite";
import { withoutPenaltyTexts, withoutSamples } from "../scripts/without-samples.ts";
import { contentSecurityPolicy } from "../src/cli/page-headers.ts";
import { mnistFiles } from "./mnist-files.ts";

/** The security policy for hosts that send no headers. */
const policyElement = (): Plugin => ({
  name: "policy-element",
  transformIndexHtml: () => [
    {
      tag: "meta",
      attrs: { "http-equiv": "Content-Security-Policy", content: contentSecurityPolicy },
      injectTo: "head-prepend",
    },
  ],
});

/** The page as files for any static host, below any path: `npm run page` writes dist/page. */
export default defineConfig((): UserConfig => {
  // Servers know .js better than .mjs.
  const assetFileNames = ({ names }: { readonly names: readonly string[] }): string =>
    names[0]?.endsWith(".mjs") ? "assets/[name]-[hash].js" : "assets/[name]-[hash][extname]";
  const output = { assetFileNames };
  // How long plugins take says more of a busy machine than of the build.
  const checks = { pluginTimings: false };
  return {
    root: import.meta.dirname,
    base: "./",
    publicDir: false,
    plugins: [policyElement(), mnistFiles()],
    // ONNX Runtime's loader and WebAssembly are files of their own: its threads load them again.
    resolve: { conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser"] },
    build: {
      outDir: "../dist/page",
      emptyOutDir: true,
      target: "es2022",
      // Inlined files would be data: addresses, which the content security policy forbids.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      chunkSizeWarningLimit: 1000,
      rolldownOptions: { output, checks },
    },
    worker: {
      format: "es",
      plugins: () => [withoutSamples(), withoutPenaltyTexts()] as Plugin[],
      rolldownOptions: { output, checks },
    },
  };
});
