// Prepares a fresh clone: installs the packages of package-lock.json and builds dist/, unless both are up to date.
// Plain Node without dependencies, because it runs before anything is installed. Called by `npm start` and `npm test`.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const built = ["dist/node/index.js", "dist/node/cli.js", "dist/web/index.js", "dist/page/index.html"].map(
  (file) => join(root, file),
);
const sources = [
  "src",
  "web",
  "package-lock.json",
  "tsdown.config.ts",
  "tsconfig.json",
  "scripts/documented-declarations.ts",
  "scripts/without-samples.ts",
].map((file) => join(root, file));

if (Number(process.versions.node.split(".")[0]) < 20) {
  fail(`sorth-onnx needs Node 20 or newer; this is ${process.version}`);
}
if (!installed()) {
  // Skip install scripts: that of onnxruntime-node downloads CUDA libraries, which many networks block, and no other
  // package needs one.
  npm("installing packages (once)", "ci", "--ignore-scripts", "--no-audit", "--no-fund");
}
if (!upToDate()) {
  npm("building dist/", "run", "build", "--", "--log-level", "warn");
  npm("building the page", "run", "page", "--", "--logLevel", "warn");
}

/** Whether every package of the lock file is installed in its version (except optional ones). */
function installed() {
  try {
    const wanted = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
    const present = JSON.parse(readFileSync(join(root, "node_modules/.package-lock.json"), "utf8")).packages;
    return Object.entries(wanted).every(
      ([path, entry]) => path === "" || entry.optional || present[path]?.version === entry.version,
    );
  } catch {
    return false;
  }
}

/** Whether the build is newer than every source. */
function upToDate() {
  if (!built.every((file) => existsSync(file))) return false;
  const oldest = Math.min(...built.map((file) => statSync(file).mtimeMs));
  return sources.every((source) => newest(source) <= oldest);
}

/** When the file, or the newest file below the folder, was last changed. */
function newest(path) {
  const stats = statSync(path);
  if (!stats.isDirectory()) return stats.mtimeMs;
  return Math.max(...readdirSync(path).map((name) => newest(join(path, name))));
}

function npm(what, ...args) {
  process.stderr.write(`${what}: npm ${args.join(" ")}\n`);
  const cli = process.env.npm_execpath;
  const result = cli?.endsWith(".js")
    ? spawnSync(process.execPath, [cli, ...args], { cwd: root, stdio: ["ignore", 2, "inherit"] })
    : spawnSync("npm", args, {
        cwd: root,
        stdio: ["ignore", 2, "inherit"],
        shell: process.platform === "win32",
      });
  if (result.status !== 0) fail(`npm ${args.join(" ")} failed; its message is above`);
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}
