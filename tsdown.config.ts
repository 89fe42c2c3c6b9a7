import { defineConfig } from "tsdown";

const shared = { format: "esm", target: "es2022", clean: true, dts: true, hash: true } as const;

export default defineConfig([
  {
    ...shared,
    entry: { index: "src/index.ts", cli: "src/cli/main.ts" },
    platform: "node",
    fixedExtension: false,
    outDir: "dist/node",
  },
  {
    ...shared,
    entry: { index: "src/web.ts" },
    platform: "browser",
    // For browsers with or without a bundler: everything but ONNX Runtime is inside.
    deps: {
      neverBundle: [/^onnxruntime-(web|node)/],
      alwaysBundle: [/^(?!onnxruntime-(web|node)|node:)/],
      onlyBundle: false,
    },
    outDir: "dist/web",
  },
]);
