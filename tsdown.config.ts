import { createRequire } from "node:module";
import { defineConfig } from "tsdown";
import { documentedDeclarations } from "./scripts/documented-declarations.ts";
import { withoutSamples, withoutTexts } from "./scripts/without-samples.ts";

const shared = {
  format: "esm",
  target: "es2022",
  clean: true,
  dts: true,
  hash: true,
} as const;

/** ONNX Runtime's build for browsers has a copy of its common part inside. */
const ortCommonOfBuild = {
  name: "ort-common-of-build",
  resolveId: (id: string) =>
    id === "onnxruntime-common" ? { id: "onnxruntime-web/webgpu", external: true } : undefined,
};

/** protobufjs's remote calls, which nothing here makes. */
const protobufWithoutCalls = {
  name: "protobuf-without-calls",
  load: (id: string) => (/protobufjs\/src\/rpc\.js$/.test(id) ? "module.exports = {};" : null),
};

/** Declarations are no code: in one file with it they would be lost. */
const isCode = (id: string): boolean => !id.endsWith(".d.ts");

/** The subpaths of the package: `sorth-onnx/penalties` and so on. */
const subjects = Object.fromEntries(
  ["losses", "optimizers", "penalties", "schedules"].map((name) => [name, `src/${name}/public.ts`]),
);

export default defineConfig([
  {
    ...shared,
    entry: { index: "src/index.ts", cli: "src/cli/main.ts", ...subjects },
    plugins: [withoutSamples(), documentedDeclarations()],
    platform: "node",
    fixedExtension: false,
    outDir: "dist/node",
  },
  {
    ...shared,
    entry: { index: "src/web.ts", ...subjects },
    platform: "browser",
    minify: true,
    // protobufjs requires the CommonJS form of long: one of the two is enough.
    alias: { long: createRequire(import.meta.url).resolve("long") },
    plugins: [
      withoutSamples(),
      ...withoutTexts(),
      ortCommonOfBuild,
      protobufWithoutCalls,
      documentedDeclarations(),
    ],
    // What a page that trains loads, in one file: small files compress worse.
    outputOptions: { codeSplitting: { groups: [{ name: "core", tags: ["$initial"], test: isCode }] } },
    // For browsers with or without a bundler: everything but ONNX Runtime is inside.
    deps: {
      neverBundle: [/^onnxruntime-(web|node)/],
      alwaysBundle: [/^(?!onnxruntime-(web|node)|node:)/],
      onlyBundle: false,
    },
    outDir: "dist/web",
  },
]);
