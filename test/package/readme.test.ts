import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { npz } from "../cli/npz.ts";
import { cli } from "../cli/run-cli.ts";

const readme = readFileSync("README.md", "utf8");
// Inside the package, so that the example finds it under its own name.
const folder = "out/readme";

beforeAll(() => {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  copyFileSync("models/mlp.onnx", join(folder, "model.onnx"));
  for (const name of ["training_model.onnx", "checkpoint"]) {
    copyFileSync(join("test/fixtures/official/mlp", name), join(folder, name));
  }
  writeFileSync(
    join(folder, "data.npz"),
    npz(200, [20], (index) => index % 5),
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the README", () => {
  const commands = [...readme.matchAll(/^ {4}sorth-onnx (.+)$/gm)].map(([, line]) =>
    (line ?? "")
      .replace(/#.*$|"/g, "")
      .trim()
      .split(/ +/),
  );

  it("shows every command", () => {
    const names = [
      "inspect",
      "inject",
      "verify",
      "strip",
      "grad",
      "train",
      "step",
      "artifacts",
      "angles",
      "export",
    ];
    expect(new Set(commands.map(([name]) => name))).toEqual(new Set(names));
  });

  it.each(commands.map((argv) => [argv.join(" "), argv] as const))("sorth-onnx %s", async (_, argv) => {
    const isFile = (word: string) => /\.(onnx|npz|html|run)$|\/$|^checkpoint/.test(word);
    const there = argv.map((word) => (isFile(word) ? join(folder, word) : word));
    const { code, stderr } = await cli(...there, ...(argv[0] === "train" ? ["--max-steps", "3"] : []));
    expect({ code, errors: stderr.match(/^.*error.*$/gm) ?? [] }).toEqual({ code: 0, errors: [] });
  });

  it("has a library example that runs on the built package", (context) => {
    context.skip(!existsSync("dist/node/index.js"), "dist/ is not built (npm run build)");
    const [, example = ""] = /```ts\n([\s\S]+?)```/.exec(readme) ?? [];
    const shorter = example
      .replace("epochs: 3", "epochs: 3, maxSteps: 3")
      .replaceAll('.onnx"', '.example.onnx"');
    copyFileSync("models/mlp.onnx", join(folder, "model.example.onnx"));
    writeFileSync(join(folder, "example.mts"), shorter);
    const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", "tsx", "example.mts"], {
      cwd: folder,
      encoding: "utf8",
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toContain("accuracy");
    expect(existsSync(join(folder, "injected.example.onnx"))).toBe(true);
    expect(existsSync(join(folder, "trained.example.onnx"))).toBe(true);
  });

  it("links only to files that exist", () => {
    const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g)].map(([, path]) => path ?? "");
    expect(links.length).toBeGreaterThan(0);
    expect(links.filter((path) => !existsSync(path))).toEqual([]);
  });
});
