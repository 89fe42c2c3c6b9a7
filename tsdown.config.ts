import { fileURLToPath } from "node:url";
import { defineConfig, type TsdownPlugin } from "tsdown";
import { documentedDeclarations } from "./scripts/documented-declarations.ts";
import { thirdPartyNotices } from "./scripts/licences/plugin.ts";
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

/** Remote calls of protobufjs, which nothing here makes. */
const remoteCalls = /protobufjs\/src\/(rpc|util\/(aspromise|eventemitter))\.js$/;

/** Its readers and writers over node's Buffer. Where a browser has a Buffer, those over Uint8Array take their place. */
const overBuffer = /protobufjs\/src\/(reader|writer)_buffer\.js$/;

const plain = (base: string) => `
  const Base = require("./${base}");
  function Plain(...parameters) { return Base.apply(this, parameters); }
  Plain.prototype = Object.create(Base.prototype);
  Plain._configure = () => {};
  module.exports = Plain;`;

const ownLong = fileURLToPath(new URL("src/onnx/long-web.ts", import.meta.url));

/** protobufjs and long without what no browser reaches: 3.5 kB less of what a page loads, compressed. */
const protobufForBrowsers = {
  name: "protobuf-for-browsers",
  resolveId(id: string, importer = "") {
    if (id !== "long") return undefined;
    // protobufjs requires the class itself, and not a module with a default export.
    return importer.includes("protobufjs") ? "\0long" : ownLong;
  },
  load(id: string) {
    if (id === "\0long") return `module.exports = require(${JSON.stringify(ownLong)}).default;`;
    if (remoteCalls.test(id)) return "module.exports = {};";
    const [, base] = overBuffer.exec(id) ?? [];
    return base === undefined ? null : plain(base);
  },
};

/** Declarations are no code: in one file with it they would be lost. */
const isCode = (id: string): boolean => !id.endsWith(".d.ts");

/** The entry of a page that trains. */
const page = fileURLToPath(new URL("src/web.ts", import.meta.url));

/** The modules that this entry loads at once. The subpaths (`sorth-onnx/optimizers` …) hold others too. */
const loadedAtOnce = new Set<string>([page]);
const findLoadedAtOnce: TsdownPlugin = {
  name: "loaded-at-once",
  buildEnd() {
    // The iterator of a Set also visits modules added during the loop.
    for (const id of loadedAtOnce)
      for (const to of this.getModuleInfo(id)?.importedIds ?? []) loadedAtOnce.add(to);
  },
};

/** The subpaths of the package: `sorth-onnx/penalties` and so on. */
const subjects = Object.fromEntries(
  ["losses", "optimizers", "penalties", "schedules"].map((name) => [name, `src/${name}/public.ts`]),
);

const notices = thirdPartyNotices();

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
    plugins: [
      withoutSamples(),
      ...withoutTexts(),
      ortCommonOfBuild,
      protobufForBrowsers,
      findLoadedAtOnce,
      documentedDeclarations(),
      ...([notices.collect, notices.write] as TsdownPlugin[]),
    ],
    // What a page that trains loads, in one file: small files compress worse.
    outputOptions: {
      codeSplitting: {
        groups: [{ name: "core", test: (id) => isCode(id) && loadedAtOnce.has(id) }],
      },
    },
    // For browsers with or without a bundler: everything but ONNX Runtime is inside.
    deps: {
      neverBundle: [/^onnxruntime-(web|node)/],
      alwaysBundle: [/^(?!onnxruntime-(web|node)|node:)/],
      onlyBundle: false,
    },
    outDir: "dist/web",
  },
]);
