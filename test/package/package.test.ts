import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import onnxProto from "onnx-proto";
import { describe, expect, it } from "vitest";
import { onnx } from "../../src/onnx/schema.js";
import { packedFiles, unbuilt } from "./installed.ts";

/** A file, or files by condition. */
type Exported = string | { readonly [condition: string]: Exported };

const filesOf = (exported: Exported): string[] =>
  typeof exported === "string" ? [exported] : Object.values(exported).flatMap(filesOf);

const manifest = JSON.parse(readFileSync("package.json", "utf8")) as {
  version: string;
  bin: Record<string, string>;
  exports: Record<string, Exported>;
  dependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
  optionalDependencies: Record<string, string>;
};

/** What the JavaScript files of a folder import from elsewhere. */
function importsOf(folder: string): Set<string> {
  const files = readdirSync(folder).filter((name) => name.endsWith(".js"));
  const text = files.map((name) => readFileSync(join(folder, name), "utf8")).join("\n");
  const found = text.matchAll(
    /(?:^|;)(?:import|export)\b[^"';\n]*["']([^"'\n]+)["']|\bimport\(["']([^"'\n]+)["']\)/gm,
  );
  return new Set(
    [...found].map(([, from, loaded]) => from ?? loaded ?? "").filter((name) => !name.startsWith(".")),
  );
}

/** A module and the files that are loaded with it. */
function loadedWith(path: string, known = new Set<string>()): Set<string> {
  if (known.has(path)) return known;
  known.add(path);
  const text = readFileSync(path, "utf8");
  for (const [, from = ""] of text.matchAll(/\bfrom["'](\.[^"']+)["']/g)) {
    loadedWith(join(path, "..", from), known);
  }
  return known;
}

describe("the package", () => {
  it("holds every file that it exports or runs, and no sources", (context) => {
    context.skip(unbuilt !== "", unbuilt);
    const paths = packedFiles().map((path) => `./${path}`);
    const named = filesOf(manifest.exports);
    expect(named.length).toBeGreaterThan(20);
    expect(paths).toEqual(expect.arrayContaining([...named, ...Object.values(manifest.bin), "./LICENSE"]));
    // The page with ONNX Runtime, and with a sample of MNIST.
    expect(paths).toContain("./dist/page/index.html");
    expect(paths.filter((path) => path.endsWith(".wasm"))).toHaveLength(1);
    expect(paths.filter((path) => path.includes("ubyte"))).toHaveLength(4);
    expect(paths).toEqual(expect.arrayContaining(["./README.md", "./docs/page.png", "./examples/README.md"]));
    // Of other folders only what documents lead to.
    const aside = paths.filter((path) => /^\.\/(src|test|scripts|bench|experiments|web|\.ci)\//.test(path));
    expect(aside.filter((path) => !/\.(md|svg|jsonl|py)$/.test(path))).toEqual([]);
    // What packages inside of the bundles ask for, and how to report a hole.
    expect(paths).toEqual(
      expect.arrayContaining([
        ...["./SECURITY.md", "./dist/web/THIRD-PARTY-NOTICES.txt", "./dist/page/THIRD-PARTY-NOTICES.txt"],
      ]),
    );
  });

  it("holds nothing private, no source maps, and no more than it needs", (context) => {
    context.skip(unbuilt !== "", unbuilt);
    const packed = packedFiles();
    const hidden =
      /(^|\/)(\.|node_modules\/|out\/)|\.(map|log|tmp|env|pem|key|tgz)$|(^|\/)(package-lock|npm-debug)/;
    expect(packed.filter((path) => hidden.test(path))).toEqual([]);
    const sizes = packed.map((path) => statSync(path).size);
    expect(sizes.reduce((a, b) => a + b, 0)).toBeLessThan(40_000_000);
    // ONNX Runtime's WebAssembly aside.
    const large = packed.filter((_, i) => (sizes[i] ?? 0) > 1_500_000);
    expect(large.filter((path) => !path.endsWith(".wasm"))).toEqual([]);
    // Places on the computer that built it.
    const texts = packed.filter((path) => /\.(js|ts|md|html|json|txt)$/.test(path));
    const here = [process.cwd(), homedir()].filter((path) => path.length > 5);
    const told = texts.filter((path) => here.some((place) => readFileSync(path, "utf8").includes(place)));
    expect(told).toEqual([]);
  });

  it("holds every document that its messages name", () => {
    const packed = new Set(packedFiles());
    const sources = ["src", "web"].flatMap((folder) =>
      readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => join(folder, name)),
    );
    const texts = sources
      .filter((name) => /\.(ts|html)$/.test(name))
      .map((name) => readFileSync(name, "utf8"));
    const named = texts.flatMap((text) => [...text.matchAll(/\b(docs|examples)\/[\w-]+(\.md|\/[\w.-]+)/g)]);
    const files = [...new Set(named.map(([file]) => file))];
    expect(files).toContain("docs/web.md");
    expect(files.filter((file) => !packed.has(file))).toEqual([]);
  });

  it.for(["node", "web"])("shows TypeScript every type and every text of %s", (build, context) => {
    context.skip(unbuilt !== "", unbuilt);
    const folder = join("dist", build);
    const declared = readdirSync(folder).filter((name) => name.endsWith(".d.ts"));
    const text = (name: string) => readFileSync(join(folder, name), "utf8");
    const missing = declared.flatMap((name) =>
      [...text(name).matchAll(/\bfrom ["']\.\/([^"']+)\.js["']/g)].flatMap(([, from = ""]) =>
        declared.includes(`${from}.d.ts`) ? [] : [`${name} → ${from}`],
      ),
    );
    expect(missing).toEqual([]);
    const functions = text("index.d.ts").match(/(?:^ \*\/\n)?^declare const \w+: Library\[/gm) ?? [];
    expect(functions.length).toBeGreaterThan(12);
    expect(functions.filter((found) => !found.startsWith(" */"))).toEqual([]);
  });

  it("needs only declared packages in node, and only ONNX Runtime in a browser", (context) => {
    context.skip(unbuilt !== "", unbuilt);
    const outside = [...importsOf("dist/node")].filter((name) => !name.startsWith("node:"));
    const packages = outside.map((name) => /^(?:@[^/]+\/)?[^/]+/.exec(name)?.[0] ?? "");
    const { dependencies, peerDependencies, optionalDependencies } = manifest;
    expect(Object.keys({ ...dependencies, ...peerDependencies, ...optionalDependencies })).toEqual(
      expect.arrayContaining(packages),
    );
    expect(packages).toContain("onnxruntime-node");
    expect([...importsOf("dist/web")].sort()).toEqual(["onnxruntime-web/webgpu"]);
  });

  it("is under 150 kB for a browser, ONNX Runtime aside, and evaluates no text as code", (context) => {
    context.skip(unbuilt !== "", unbuilt);
    const loaded = loadedWith("dist/web/index.js");
    const sizes = [...loaded].map((path) => gzipSync(readFileSync(path)).length);
    expect(sizes.reduce((a, b) => a + b, 0)).toBeLessThan(150_000);
    const all = readdirSync("dist/web").filter((name) => name.endsWith(".js"));
    // What a page that trains does not need is loaded when it is asked for.
    const later = all.filter((name) => !loaded.has(join("dist/web", name)));
    expect(later.map((name) => name.replace(/-.{8}\.js$/, ""))).toEqual(
      expect.arrayContaining([
        "artifacts",
        "inject",
        "inspect",
        "observe",
        "response-angles",
        "table",
        "verify",
        "weight-angles",
      ]),
    );
    for (const name of all) {
      expect(readFileSync(join("dist/web", name), "utf8")).not.toMatch(/\beval\(|\bnew Function\(/);
    }
  });

  it("has a command that runs, and says its version", (context) => {
    context.skip(unbuilt !== "", unbuilt);
    const bin = manifest.bin["sorth-onnx"] ?? "";
    expect(readFileSync(bin, "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
    const { status, stdout, stderr } = spawnSync(process.execPath, [bin, "--version"], { encoding: "utf8" });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: `${manifest.version}\n`, stderr: "" });
  });

  it("stops without a complaint when nobody reads its output", (context) => {
    context.skip(unbuilt !== "", unbuilt);
    const command = `"${process.execPath}" ${manifest.bin["sorth-onnx"]} inspect models/cnn.onnx --json | head -c 1`;
    const { stderr, stdout } = spawnSync("sh", ["-c", command], { encoding: "utf8" });
    expect({ stdout, stderr }).toEqual({ stdout: "{", stderr: "" });
  });
});

describe("onnx-proto, the second reader", () => {
  it("shares our protobufjs, and not our messages", () => {
    const resolve = createRequire(createRequire(import.meta.url).resolve("onnx-proto")).resolve;
    expect(resolve("protobufjs/minimal")).toBe(createRequire(import.meta.url).resolve("protobufjs/minimal"));
    expect(onnxProto.onnx.ModelProto).not.toBe(onnx.ModelProto);
  });

  it("reads what our codec writes", () => {
    const bytes = readFileSync("models/cnn.onnx");
    const theirs = onnxProto.onnx.ModelProto.decode(bytes);
    const ours = onnx.ModelProto.decode(bytes);
    expect(theirs.graph?.node?.map((node) => node.opType)).toEqual(
      ours.graph?.node?.map((node) => node.opType),
    );
    expect(theirs).toBeInstanceOf(onnxProto.onnx.ModelProto);
    const again = onnxProto.onnx.ModelProto.decode(onnx.ModelProto.encode(ours).finish());
    expect(again.toJSON()).toEqual(theirs.toJSON());
  });
});
