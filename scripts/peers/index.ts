/**
 * Compares gradients of exported networks with PyTorch's, and gradients of exports of Keras and scikit-learn with differences
 * of their loss. Writes scripts/peers/results.jsonl and docs/peers.md.
 *
 * npm run peers                     everything (an hour or two; keeps some gigabytes of exports in .cache/peers)
 * npm run peers -- unet gpt2        only these; the other figures stay unchanged
 * npm run peers -- --no-export      only exports that are already in .cache/peers, without Python
 *
 * SORTH_PYTHON names an interpreter with the packages of requirements.txt; otherwise .cache/peers-python is created.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { scriptArguments } from "../arguments.ts";
import { pythonInterpreter } from "../python-environment.ts";
import { checkExport, checkWithoutReference } from "./check.ts";
import { Reference } from "./reference.ts";
import { reportOf } from "./report.ts";
import type { PeerResult } from "./result.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const folder = join(root, ".cache", "peers");
const resultsFile = new URL("results.jsonl", import.meta.url);
const reportFile = new URL("../../docs/peers.md", import.meta.url);

/** What an export script reports about a network. */
interface Exported {
  readonly name: string;
  readonly family: string;
  /** Versions of the packages that made the exports. */
  readonly versions: Readonly<Record<string, string>>;
  /** The problem, or null, by `<exporter>.<mode>`. */
  readonly exports: Readonly<Record<string, string | null>>;
}

const { values: flags, positionals: names } = scriptArguments(import.meta.url, {
  allowPositionals: true,
  allowNegative: true,
  options: { export: { type: "boolean", default: true } },
});

mkdirSync(folder, { recursive: true });
const before = existsSync(resultsFile) ? readFileSync(resultsFile, "utf8").split("\n").filter(Boolean) : [];
const results = before.map((line) => JSON.parse(line) as PeerResult);
for (const script of ["export.py", "export_others.py"]) {
  for await (const exported of flags.export ? exportedBy(script) : exportedBefore(script)) {
    for (const [kind, problem] of Object.entries(exported.exports))
      keep(await check(exported, kind, problem));
  }
}

/** Runs an export script, which exports the next network while one is checked. */
async function* exportedBy(script: string): AsyncGenerator<Exported> {
  const python = pythonInterpreter("peers-python");
  const child = spawn(python, [join(root, "scripts", "peers", script), folder, ...names], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    writeFileSync(join(folder, `${(JSON.parse(line) as Exported).name}.json`), line);
    yield JSON.parse(line) as Exported;
  }
  const code = child.exitCode ?? (await new Promise<number | null>((resolve) => child.once("exit", resolve)));
  if (code !== 0) throw new Error(`${script} ended with ${code}`);
}

/** The networks that a script exported earlier. */
function* exportedBefore(script: string): Generator<Exported> {
  for (const file of readdirSync(folder).sort()) {
    if (!file.endsWith(".json")) continue;
    const exported = JSON.parse(readFileSync(join(folder, file), "utf8")) as Exported;
    const ofTorch = "script.eval" in exported.exports;
    if (ofTorch !== (script === "export.py")) continue;
    if (names.length === 0 || names.includes(exported.name)) yield exported;
  }
}

async function check(exported: Exported, kind: string, problem: string | null): Promise<PeerResult> {
  const { name, family } = exported;
  const [exporter = "", mode = ""] = kind.split(".");
  const versions = { "onnxruntime-node": runtimeVersion(), ...exported.versions };
  const identity = { name, family, exporter, mode, versions };
  if (problem) return { ...identity, status: "no export", note: problem };
  const path = join(folder, mode ? `${name}.${kind}.onnx` : `${name}.onnx`);
  const data = join(folder, `${name}.safetensors`);
  return {
    ...identity,
    ...(mode
      ? await checkExport(path, new Reference(data), exporter, mode)
      : await checkWithoutReference(path, data)),
  };
}

/** Replaces an earlier result and writes the files, so that an interrupted run loses nothing. */
function keep(result: PeerResult): void {
  const same = (other: PeerResult) =>
    other.name === result.name && other.exporter === result.exporter && other.mode === result.mode;
  const at = results.findIndex(same);
  if (at < 0) results.push(result);
  else results[at] = result;
  const figure = (_: string, value: unknown) =>
    typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(3)) : value;
  writeFileSync(resultsFile, results.map((line) => `${JSON.stringify(line, figure)}\n`).join(""));
  writeFileSync(reportFile, reportOf(results));
  console.log(
    `${result.name} ${result.exporter} ${result.mode}: ${result.status} ${result.error ?? result.directionalError ?? ""}`,
  );
}

function runtimeVersion(): string {
  const path = join(root, "node_modules/onnxruntime-node/package.json");
  return (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;
}
