import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem, type } from "node:os";

export { peakMemory } from "../src/measure/peak-memory-node.ts";

/** Description of processor, memory and system, on which timings depend. */
export function machineDescription(): string {
  const all = cpus();
  return `${all[0]?.model.trim() ?? "unknown processor"}, ${all.length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, ${type()} ${release()}`;
}

/** The checked-out commit, with a `+` if the library's source differs from it; `unknown` outside of a checkout. */
export function commitDescription(): string {
  const git = (...arguments_: string[]) => execFileSync("git", arguments_, { encoding: "utf8" }).trim();
  try {
    return git("rev-parse", "--short", "HEAD") + (git("status", "--porcelain", "src") === "" ? "" : "+");
  } catch {
    return "unknown";
  }
}

/** The versions of node and of an installed ONNX Runtime. */
export function nodeVersions(): Record<string, string> {
  const manifest = new URL("../node_modules/onnxruntime-node/package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string };
  return { node: process.version.slice(1), "onnxruntime-node": version };
}

/** Replaces the text between `<!-- name -->` and `<!-- /name -->` in a Markdown file. */
export function replaceSection(file: URL, name: string, text: string): void {
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const old = readFileSync(file, "utf8");
  const [from, to] = [old.indexOf(start), old.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${file.pathname} has no section ${start} … ${end}`);
  writeFileSync(file, `${old.slice(0, from + start.length)}\n${text}\n${old.slice(to)}`);
}
