import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { graphOf } from "../src/graph/model-graph.ts";
import { graphToProto } from "../src/graph/proto.ts";
import { Model, readModel, writeModel } from "../src/index.ts";
import { findChromium, patience, serve, testFlags } from "./browser/browser.ts";
import { cli, temporaryFolder } from "./cli/run-cli.ts";

const run = promisify(execFile);
const built = existsSync("dist/node/index.js");
const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
const artifacts = resolve("test/fixtures/official/mlp");

/** Losses in lines such as `3 0.25 …`. */
const lossesOf = (stdout: string): number[] =>
  [...stdout.matchAll(/^\d+ ([\d.e-]+)/gm)].map(([, loss]) => Number(loss));

const falls = (losses: readonly number[]): void => {
  expect(losses).toHaveLength(10);
  expect(losses[9]).toBeLessThan(losses[0] ?? 0);
};

beforeAll(async () => {
  // The loops take a model whose input has any name.
  const graph = graphOf(await readModel("models/mlp.onnx"));
  graph.rename(graph.valueNamed("x"), "pixels");
  await writeModel(Model.fromProto(graphToProto(graph)), at("model.onnx"));
  const options = ["--batch", "16", "--quiet", "-o", at("step.onnx")];
  expect((await cli("step", at("model.onnx"), ...options)).code).toBe(0);
  expect((await cli("step", at("model.onnx"), ...options, "--split", "--force")).code).toBe(0);
});
afterAll(() => folder.remove());

describe("examples in node", () => {
  const scripts: Readonly<Record<string, { argv: readonly string[]; check: (stdout: string) => void }>> = {
    "01-train": {
      argv: [folder.path],
      check: (stdout) => expect(stdout).toMatch(/epoch 3: loss .*\naccuracy 1\n/),
    },
    "02-inject": {
      argv: [],
      check: (stdout) => {
        expect(stdout).toMatch(/stripped to the original bytes: true/);
        expect(stdout).not.toContain("FAIL");
      },
    },
    "03-own-loop-node": {
      argv: [at("step.onnx"), at("step.initial.onnx")],
      check: (stdout) => falls(lossesOf(stdout)),
    },
    "06-all-reduce": {
      argv: [at("step.gradients.onnx"), at("step.update.onnx"), at("step.initial.onnx")],
      check: (stdout) => falls(lossesOf(stdout)),
    },
    "07-official-artifacts": { argv: [artifacts], check: (stdout) => falls(lossesOf(stdout)) },
    "10-rescue": {
      argv: [artifacts],
      check: (stdout) => expect(stdout).toMatch(/epoch 3: loss .*\n\[ 'logits' \]\nupdates 12\n/),
    },
    "11-artifacts-without-python": {
      argv: [at("artifacts")],
      check: () => expect(readdirSync(at("artifacts"))).toHaveLength(4),
    },
    "13-federated": {
      argv: [],
      check: (stdout) => {
        const [first = 0, , , fourth = 0, alone = 0, central = 1] = [
          ...stdout.matchAll(/accuracy (0\.\d+)$/gm),
        ].map(([, accuracy]) => Number(accuracy));
        expect(fourth).toBeGreaterThan(first);
        expect(fourth).toBeGreaterThan(alone);
        expect(fourth).toBeGreaterThan(central - 0.05);
      },
    },
    "12-own-penalty": {
      argv: [],
      check: (stdout) => {
        expect(stdout).toMatch(
          /epoch 3 \{ som: [\d.]+, 'unit-length': [\d.]+ \}\ninjected and verified: true\n/,
        );
      },
    },
  };
  for (const [name, { argv, check }] of Object.entries(scripts)) {
    it(name, async (context) => {
      context.skip(!built, "dist/node is not built (npm run build)");
      const path = `examples/${name}/main`;
      const script = existsSync(`${path}.ts`) ? ["--import", "tsx", `${path}.ts`] : [`${path}.mjs`];
      check((await run(process.execPath, [...script, ...argv])).stdout);
    });
  }
});

it("04-own-loop-web in Chromium", async (context) => {
  const executablePath = findChromium();
  context.skip(!executablePath, "no Chromium is installed (apt-get install chromium, or CHROMIUM_PATH)");
  if (!executablePath) return;
  const page = readFileSync("examples/04-own-loop-web/index.html", "utf8");
  const server = await serve(process.cwd(), page);
  const browser = await chromium.launch({ executablePath, args: testFlags });
  try {
    const tab = await browser.newPage();
    for (const file of ["step.onnx", "step.initial.onnx"]) {
      await tab.route(`**/${file}`, (route) => route.fulfill({ body: readFileSync(at(file)) }));
    }
    await tab.goto(server.url);
    await tab.waitForFunction("document.title === 'done'", undefined, { timeout: patience });
    falls(lossesOf(await tab.locator("#losses").innerText()));
  } finally {
    await browser.close();
    await server.close();
  }
});

it("05-own-loop-python", async (context) => {
  const python = process.env.SORTH_PYTHON;
  context.skip(!python, "no Python with onnxruntime was named (SORTH_PYTHON); tests need none");
  const files = [at("step.onnx"), at("step.initial.onnx")];
  const { stdout } = await run(python ?? "", ["examples/05-own-loop-python/main.py", ...files]);
  falls(lossesOf(stdout));
});

it("every example says how it is run, and is run here or by scripts/official", () => {
  const names = readdirSync("examples", { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? [entry.name] : [],
  );
  const list = readFileSync("examples/README.md", "utf8");
  const runners = ["test/examples.test.ts", "test/package/web-vite.test.ts", "scripts/official/check.py"];
  const tests = runners.map((file) => readFileSync(file, "utf8")).join("");
  for (const name of names) {
    expect(existsSync(`examples/${name}/README.md`), name).toBe(true);
    expect(list).toContain(`(${name}/README.md)`);
    expect(tests).toContain(name);
  }
  expect(names).toHaveLength(14);
});
