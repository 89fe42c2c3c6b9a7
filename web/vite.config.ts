import { defineConfig, type Plugin, type UserConfig } from "vite";
import { thirdPartyNotices } from "../scripts/licences/plugin.ts";
import { withoutSamples, withoutTexts } from "../scripts/without-samples.ts";
import { contentSecurityPolicy } from "../src/cli/page-headers.ts";
import { mnistFiles } from "./mnist-files.ts";

/** Puts the security policy into the page, for hosts that send no headers. */
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
  // Some servers do not know the type of .mjs files, but all know .js.
  const assetFileNames = ({ names }: { readonly names: readonly string[] }): string =>
    names[0]?.endsWith(".mjs") ? "assets/[name]-[hash].js" : "assets/[name]-[hash][extname]";
  const output = { assetFileNames };
  // Plugin timings say more about a busy machine than about the build.
  const checks = { pluginTimings: false };
  const notices = thirdPartyNotices();
  return {
    root: import.meta.dirname,
    base: "./",
    publicDir: false,
    plugins: [policyElement(), mnistFiles(), notices.collect, notices.write],
    // ONNX Runtime's loader and WebAssembly stay separate files, because its threads load them again.
    resolve: { conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser"] },
    build: {
      outDir: "../dist/page",
      emptyOutDir: true,
      target: "es2022",
      // Inlined files would become data: addresses, which the content security policy forbids.
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      chunkSizeWarningLimit: 1000,
      rolldownOptions: { output, checks },
    },
    worker: {
      format: "es",
      plugins: () => [withoutSamples(), ...withoutTexts(), notices.collect] as Plugin[],
      rolldownOptions: { output, checks },
    },
  };
});
