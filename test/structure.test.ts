import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";

/** Folders of src from the bottom up, as docs/README.md lists them. */
const layers: readonly (readonly string[])[] = [
  ["onnx"],
  ["graph"],
  ["analysis"],
  ["artifacts"],
  ["passes/pass.ts"],
  ["passes/opset", "passes/cleanup"],
  ["passes/expansion"],
  ["autodiff"],
  ["schedules"],
  ["losses", "optimizers", "metrics"],
  ["penalties"],
  ["block"],
  ["inject"],
  ["verify"],
  ["passes/training", "passes/layout"],
  ["passes/backends"],
  ["passes/table.ts"],
  ["programs"],
  ["data"],
  ["head", "batch-norm", "free-batch"],
  ["tap"],
  ["adapters"],
  ["runtime"],
  ["distribute"],
  ["measure"],
  ["report"],
  ["cli"],
];
const heightOf = new Map(layers.flatMap((names, height) => names.map((name) => [name, height] as const)));
/** Files of `src/` itself that are the library, on which only `cli` stands; the others there are what every module may import. */
const entries = new Set([
  "common.ts",
  "deprecated.ts",
  "index.ts",
  "library.ts",
  "on-first-call.ts",
  "web.ts",
]);

/** The floor of a file: that of its folder, of folders in `passes/` each one's own; undefined for an unknown folder. */
function heightAt(file: string): number | undefined {
  const [, folder = "", inner] = file.split(/[\\/]/);
  if (inner === undefined) return entries.has(folder) ? layers.length - 1.5 : -1;
  return heightOf.get(folder) ?? heightOf.get(`${folder}/${inner}`);
}

const files = readdirSync("src", { recursive: true, encoding: "utf8" })
  .map((file) => join("src", file))
  .filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts"));

/** The files of src that a file imports, types too. */
const importsOf = new Map(
  files.map((file) => {
    const paths = [...readFileSync(file, "utf8").matchAll(/(?:from |import\()"(\.[^"]+\.ts)"/g)];
    return [file, paths.map(([, path]) => join(dirname(file), path ?? ""))] as const;
  }),
);

it("a module imports only from its own folder and those below", () => {
  const upward = files.flatMap((file) => {
    const own = heightAt(file) ?? 0;
    const above = (importsOf.get(file) ?? []).filter((path) => (heightAt(path) ?? 0) > own);
    return above.map((path) => `${file} imports ${path}`);
  });
  expect(upward).toEqual([]);
});

it("docs/README.md lists the folders in the same order", () => {
  const text = readFileSync("docs/README.md", "utf8");
  const rows = text.split("\n").flatMap((line) => /^\| (`src\/[^|]*) \|/.exec(line)?.[1] ?? []);
  const listed = rows.map((row) => [...row.matchAll(/`src\/([^`]+?)\/?`/g)].map(([, name]) => name));
  expect(listed.slice(1)).toEqual(layers);
});

it("knows every folder of src", () => {
  expect(files.filter((file) => heightAt(file) === undefined)).toEqual([]);
});

it("no import leads back to its own file", () => {
  const done = new Set<string>();
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" → "));
    if (path.includes(file) || done.has(file)) return;
    for (const next of importsOf.get(file) ?? []) visit(next, [...path, file]);
    done.add(file);
  };
  for (const file of files) visit(file, []);
  expect(circles).toEqual([]);
});

it("no file is longer than 350 lines", () => {
  const folders = ["bench", "examples", "experiments", "python", "scripts", "test", "web"];
  const others = folders.flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: "utf8" }).map((file) => join(folder, file)),
  );
  const read = others.filter((file) => /\.(ts|css|py)$/.test(file) && !file.includes("node_modules"));
  const lengths = [...files, ...read].map(
    (file) => [file, readFileSync(file, "utf8").split("\n").length - 1] as const,
  );
  expect(lengths.filter(([, lines]) => lines > 350)).toEqual([]);
});

it("the prefix of injected blocks stands in one constant, that of ports whose name is taken in another", () => {
  const literals = files.filter((file) => /["`]sorth\//.test(readFileSync(file, "utf8")));
  expect(literals).toEqual([join("src", "analysis", "block-nodes.ts"), join("src", "programs", "ports.ts")]);
});
