/**
 * Writes test/fixtures/official: PyTorch exports the networks of models.py and trains them in float64, then ONNX Runtime's
 * last training release generates artifacts from them and trains those. Run: npm run official:fixtures
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { pythonInterpreter } from "../python-environment.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const target = fileURLToPath(new URL("../../test/fixtures/official", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "sorth-official-"));

execFileSync(pythonInterpreter(), [join(here, "export.py"), folder], { stdio: "inherit" });
execFileSync(pythonInterpreter("official-python"), [join(here, "artifacts.py"), folder], {
  stdio: ["ignore", "inherit", "ignore"],
});
for (const name of readdirSync(target)) {
  if (statSync(join(target, name)).isDirectory()) rmSync(join(target, name), { recursive: true });
}
cpSync(folder, target, { recursive: true, filter: (path) => !path.endsWith("frozen.json") });
rmSync(folder, { recursive: true });
