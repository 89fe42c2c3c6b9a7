import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { cliReference } from "../../scripts/cli-reference.ts";
import { commandExamples } from "../../src/cli/examples.ts";
import { adapterOf, addAdapters, readModel, writeAdapter } from "../../src/index.ts";
import { npz } from "./npz.ts";
import { cli } from "./run-cli.ts";

describe("the reference of the command line", () => {
  it("is what the commands say (npm run docs:cli)", async () => {
    expect(readFileSync("docs/cli.md", "utf8")).toBe(await cliReference());
  });

  it("shows examples in every command's help", async () => {
    for (const [name, examples] of Object.entries(commandExamples)) {
      const { code, stdout } = await cli(name, "--help");
      expect(code).toBe(0);
      for (const { line } of examples) expect(stdout).toContain(line);
    }
  });
});

describe("every example of the help", () => {
  let folder = "";
  const before = process.cwd();
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "sorth-examples-"));
    mkdirSync(folder, { recursive: true });
    copyFileSync("models/mlp.onnx", join(folder, "model.onnx"));
    copyFileSync("test/fixtures/single/flat.script.onnx", join(folder, "single.onnx"));
    writeFileSync(
      join(folder, "data.npz"),
      npz(200, [1, 28, 28], (index) => index % 10),
    );
    const adapter = adapterOf(await addAdapters(await readModel("models/mlp.onnx"), {}));
    for (const name of ["adapter.safetensors", "first", "second"]) {
      await writeAdapter(await adapter, join(folder, name));
    }
  });
  afterAll(() => {
    process.chdir(before);
    rmSync(folder, { recursive: true, force: true });
  });

  // In the order of the table: what one example writes, a later one reads. `demo` serves until it is stopped.
  const order = [
    "inspect",
    "inject",
    "strip",
    "verify",
    "head",
    "free-batch",
    "merge",
    "tap",
    "grad",
    "step",
    "artifacts",
    "train",
    "distribute",
    "find-lr",
    "bench",
    "export",
    "evaluate",
    "predict",
    "angles",
  ];
  it("is listed for the test below", () => {
    expect([...order, "demo"].sort()).toEqual(Object.keys(commandExamples).sort());
  });

  const lines = order.flatMap((name) => (commandExamples[name] ?? []).map(({ line }) => line));
  it.each(lines)("%s", async (line) => {
    const [, ...argv] = (line.match(/'[^']*'|"[^"]*"|\S+/g) ?? []).map((word) =>
      word.replace(/^['"]|['"]$/g, ""),
    );
    const short: Record<string, string[]> = { train: ["--max-steps", "2"], "find-lr": ["--steps", "2"] };
    const shorter = (argv.includes("mnist") && short[argv[0] ?? ""]) || [];
    // Commands write beside the model, so they run where it lies.
    process.chdir(folder);
    const { code, stderr } = await cli(...argv, ...shorter);
    process.chdir(before);
    expect({ code, errors: stderr.match(/^.*error.*$/gm) ?? [] }).toEqual({ code: 0, errors: [] });
  });
});
