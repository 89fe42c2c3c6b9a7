import { readFileSync } from "node:fs";
import { unzipSync } from "fflate";
import { expect, test } from "vitest";
import { findParameters } from "../../src/analysis/parameters.ts";
import { graphFromProto } from "../../src/graph/proto.ts";
import { decodeModelProto } from "../../src/onnx/codec.ts";
import { liftParameters } from "../../src/passes/expansion/expand-model.ts";

interface Exported {
  readonly file: string;
  /** Initializers that hold the numbers of what the framework trains, in any layout. */
  readonly trained: readonly string[];
}

const folder = "test/fixtures/parameters";
const models = unzipSync(readFileSync(`${folder}/models.zip`));
const index = JSON.parse(readFileSync(`${folder}/index.json`, "utf8")) as { models: readonly Exported[] };

/** The initializers of a file that are trained: themselves, or as copies of a parameter. */
function trainedIn(file: string): string[] {
  const graph = graphFromProto(decodeModelProto(models[file] as Uint8Array));
  const { copies } = liftParameters(graph, {});
  const { parameters } = findParameters(graph);
  const trained = new Set(parameters.map(({ value }) => value.name.replace(/\/\d+'*$/, "")));
  for (const { name, of } of copies) if (trained.has(of)) trained.add(name);
  for (const { of, made } of copies) if (made) trained.delete(of);
  return [...trained].sort();
}

/** Exports by module: `lstm` of `lstm.dynamo.onnx`, so that one test has all exporters of a module. */
const modules = new Map<string, Exported[]>();
for (const exported of index.models) {
  const [module = ""] = exported.file.split(".");
  modules.set(module, [...(modules.get(module) ?? []), exported]);
}

test.each([...modules])("%s: what the framework trains, no more and no less", (_, exported) => {
  const found = Object.fromEntries(exported.map(({ file }) => [file, trainedIn(file)]));
  expect(found).toEqual(Object.fromEntries(exported.map(({ file, trained }) => [file, [...trained].sort()])));
});
