import { defineConfig } from "tsdown";

export default defineConfig({
  entry: { index: "src/index.ts", web: "src/web.ts", cli: "src/cli/main.ts" },
  format: "esm",
  dts: true,
  platform: "neutral",
  target: "es2022",
  external: [/^node:/, /^onnxruntime-/],
  clean: true,
});
