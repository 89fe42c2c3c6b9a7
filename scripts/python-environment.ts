/**
 * The Python environments of oracles and benchmarks; the product itself needs no Python. They are created once: .cache/python
 * from scripts/requirements.txt, .cache/peers-python from scripts/peers/requirements.txt. SORTH_PYTHON names an interpreter that
 * already has these packages. ONNX Runtime's last training release, in .cache/official-python, needs an older Python;
 * SORTH_OFFICIAL_PYTHON names an interpreter that has it.
 *
 * Run a script with it: npm run python -- scripts/oracles/training.py
 */
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Environments by their folder in .cache, with the packages of each. */
const environments = {
  python: { requirements: join(root, "scripts", "requirements.txt"), own: "SORTH_PYTHON" },
  "peers-python": { requirements: join(root, "scripts", "peers", "requirements.txt"), own: "SORTH_PYTHON" },
  "official-python": {
    requirements: join(root, "scripts", "official", "requirements.txt"),
    own: "SORTH_OFFICIAL_PYTHON",
  },
};

/** Path of an interpreter with the packages; creates the environment if it is missing or outdated. */
export function pythonInterpreter(environment: keyof typeof environments = "python"): string {
  const { requirements: wanted, own } = environments[environment];
  const interpreterAtHand = process.env[own];
  if (interpreterAtHand) return interpreterAtHand;
  const folder = join(root, ".cache", environment);
  const installed = join(folder, "requirements.txt");
  const windows = process.platform === "win32";
  const interpreter = join(folder, ...(windows ? ["Scripts", "python.exe"] : ["bin", "python"]));
  if (existsSync(installed) && readFileSync(installed, "utf8") === readFileSync(wanted, "utf8"))
    return interpreter;
  console.error(`Making .cache/${environment}: up to some gigabytes, some minutes, once.`);
  rmSync(folder, { recursive: true, force: true });
  execFileSync(windows ? "python" : "python3", ["-m", "venv", folder], { stdio: "inherit" });
  execFileSync(interpreter, ["-m", "pip", "install", "--quiet", "-r", wanted], { stdio: "inherit" });
  // Written last, so that an interrupted installation is repeated.
  copyFileSync(wanted, installed);
  return interpreter;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const interpreter = pythonInterpreter();
  const script = process.argv.slice(2);
  if (script.length === 0) console.log(interpreter);
  else process.exitCode = spawnSync(interpreter, script, { stdio: "inherit" }).status ?? 1;
}
