import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { run } from "../../src/cli/program.ts";
import { decodeModel, encodeModel, Model } from "../../src/onnx/model.ts";
import { npz } from "./npz.ts";
import { cli, cliOn, temporaryFolder } from "./run-cli.ts";

const folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);

beforeAll(async () => {
  writeFileSync(
    at("data.npz"),
    npz(40, [1, 28, 28], (index) => index % 10),
  );
  await cli("inject", "models/cnn.onnx", "-o", at("injected.onnx"));
});
afterAll(() => folder.remove());

describe("inspect", () => {
  it("shows layers, what is trained and what is not", async () => {
    const { code, stdout, stderr } = await cli("inspect", "models/cnn.onnx", "--batch", "2");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^models\/cnn\.onnx: a model, opset 18/);
    expect(stdout).toMatch(/^input {3}x float \[batch, 1, 28, 28\]$/m);
    expect(stdout).toMatch(/^conv1 +Conv +16 +25 +1 +392 +conv1\.weight +all$/m);
    expect(stdout).toMatch(/^bn1\.running_mean +\[16\] +running mean of BatchNormalization "bn1"$/m);
  });

  it("says of an injected model that it is one", async () => {
    expect((await cli("inspect", at("injected.onnx"))).stdout).toContain("a model with an injected penalty");
  });

  it("follows --freeze", async () => {
    const { stdout } = await cli("inspect", "models/cnn.onnx", "--freeze", "^bn", "--json");
    const { parameters, sites } = JSON.parse(stdout) as { parameters: { name: string }[]; sites: unknown[] };
    expect(parameters.map(({ name }) => name).filter((name) => name.startsWith("bn"))).toEqual([]);
    expect(sites).toHaveLength(6);
  });
});

describe("verify", () => {
  it("passes on what inject wrote", async () => {
    const { code, stdout, stderr } = await cli("verify", "models/cnn.onnx", at("injected.onnx"));
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^passed {2}outputs bit-identical/m);
    expect(stdout).not.toContain("FAILED");
  });

  it("takes data", async () => {
    const argv = ["verify", "models/cnn.onnx", at("injected.onnx"), "--data", at("data.npz"), "--json"];
    const { code, stdout } = await cli(...argv);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ passed: true });
  });

  it("fails, and says where, when a weight was changed", async () => {
    const { proto } = decodeModel(readFileSync(at("injected.onnx")));
    const weight = proto.graph?.initializer?.find(({ name }) => name === "conv2.weight");
    if (weight) weight.rawData = new Uint8Array(weight.rawData?.length ?? 0);
    writeFileSync(at("changed.onnx"), encodeModel(Model.fromProto(proto)));
    const { code, stdout, stderr } = await cli("verify", "models/cnn.onnx", at("changed.onnx"));
    expect(code).toBe(1);
    expect(stdout).toMatch(/^FAILED {2}initializers unchanged: .*conv2\.weight/m);
    expect(stderr).toMatch(/^error: \d+ of \d+ checks failed on .*changed\.onnx\n$/);
  });
});

describe("angles", () => {
  it("shows the layers of one model", async () => {
    const { code, stdout, stderr } = await cli("angles", "models/mlp.onnx");
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^weight angles of models\/mlp\.onnx/);
    expect(stdout).toMatch(/^fc1 +Gemm +128 +784 +\d+\.\d\d +\d+\.\d\d/m);
    expect(stdout).not.toContain("response");
    expect(stdout).not.toContain("conv");
  });

  it("shows several models, the same layer side by side", async () => {
    const { stdout } = await cli("angles", "models/mlp.onnx", "models/cnn.onnx");
    expect(stdout).toMatch(/^logits +Gemm +mlp\.onnx +10 .*\nlogits +Gemm +cnn\.onnx +10 /m);
    expect(stdout).toMatch(/^conv5 +Conv +cnn\.onnx +32 +288 /m);
  });

  it("adds response angles with data, the same numbers in --json and --csv", async () => {
    const argv = ["angles", "models/mlp.onnx", "--data", at("data.npz"), "--samples", "32"];
    const { stdout } = await cli(...argv);
    const [report] = JSON.parse((await cli(...argv, "--json")).stdout) as {
      responses: { layers: { name: string; rows: number; spread: number; standardError: number }[] };
    }[];
    const [layer] = report?.responses.layers ?? [];
    expect(layer).toMatchObject({ name: "fc1", rows: 32 });
    expect(stdout).toMatch(new RegExp(`^fc1 +Gemm +128 +32 .* ${layer?.spread.toFixed(2)} `, "m"));
    const [header = "", line = ""] = (await cli(...argv, "--csv")).stdout.split("\r\n");
    const column = header.split(",").indexOf("responses.standardError");
    expect(Number(line.split(",")[column])).toBe(layer?.standardError);
  });

  it("gives --json or --csv, not both", async () => {
    const { code, stderr } = await cli("angles", "models/mlp.onnx", "--json", "--csv");
    expect({ code, stderr }).toEqual({ code: 2, stderr: "error: give --json or --csv, not both\n" });
  });

  it.each([40, 60, 80, 120])(
    "keeps within a terminal of %i characters, and says what it left out",
    async (columns) => {
      const argv = ["angles", "models/cnn.onnx", "--data", at("data.npz"), "--samples", "8"];
      const { stdout, stderr } = await cliOn({ isTTY: true, columns }, ...argv);
      // Colours are or are not there as the surroundings of the test say (CI, FORCE_COLOR, NO_COLOR); they take no width.
      const lines = stripVTControlCharacters(stdout).split("\n");
      const tables = lines.filter((line) => /^(layer|conv\d|logits) {2}/.test(line));
      expect(tables).toHaveLength(14);
      for (const line of tables) expect(line.length).toBeLessThanOrEqual(columns);
      expect(stderr).toMatch(/^left out for want of width: .*cond/m);
      expect((await cliOn({ isTTY: true, columns }, ...argv, "--quiet")).stderr).toBe("");
    },
  );

  it("tells on a terminal which layer it is at, and wipes that away", async () => {
    let written = "";
    const stderr = { isTTY: true, columns: 30, write: (text: string) => (written += text) };
    const code = await run(["angles", "models/cnn.onnx"], { stdout: { write: () => true }, stderr });
    expect(code).toBe(0);
    expect(written).toBe(
      `${["conv1", "conv2", "conv3", "conv4", "conv5", "logits"].map((name) => `\rmodels/cnn.onnx: ${name}\x1b[K`).join("")}\r\x1b[K`,
    );
  });

  it("has colours on a terminal, unless NO_COLOR is set, and none in a pipe", () => {
    const headings = (isTTY: boolean, environment: Record<string, string>) => {
      const script = `import { run } from "./src/cli/program.ts";
        const stdout = { isTTY: ${isTTY}, columns: 80, write: (text) => process.stdout.write(text) };
        await run(["angles", "models/mlp.onnx", "--quiet"], { stdout, stderr: process.stderr });`;
      const { NO_COLOR: _, FORCE_COLOR: __, ...others } = process.env;
      return execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], {
        encoding: "utf8",
        env: { ...others, ...environment },
      });
    };
    const code = "\u001b[";
    expect(headings(true, { FORCE_COLOR: "1" })).toContain(code);
    expect(headings(true, { NO_COLOR: "1" })).not.toContain(code);
    expect(headings(false, { FORCE_COLOR: "1" })).not.toContain(code);
  });
});

describe("angles --html", () => {
  const argv = ["angles", "models/mlp.onnx", "--data", at("data.npz"), "--samples", "8"];

  it("writes a page, and prints the same as without", async () => {
    const page = at("report.html");
    const plain = await cli(...argv, "--json");
    const { code, stdout, stderr } = await cli(...argv, "--json", "--html", page);
    expect({ code, stderr }).toEqual({ code: 0, stderr: `page: ${page}\n` });
    expect(stdout).toBe(plain.stdout);
    const html = readFileSync(page, "utf8");
    expect(html).toContain("<title>Angles between the units of mlp.onnx</title>");
    expect(html).toContain("(up to 8 samples, γ = 10)");
    expect(html).not.toContain("trained</h2>");
  });

  it("does not replace a page without --force, and says so before it measures", async () => {
    const page = at("there.html");
    writeFileSync(page, "mine");
    expect(await cli(...argv, "--html", page)).toMatchObject({
      ...{ code: 2, stdout: "" },
      stderr: `error: "${page}" already exists; give another name with --html, or --force to replace it\n`,
    });
    expect(readFileSync(page, "utf8")).toBe("mine");
    expect((await cli(...argv, "--html", page, "--force")).code).toBe(0);
    expect((await cli(...argv, "--html", join(folder.path, "no", "page.html"))).code).toBe(1);
  });

  it("shows the training of a model whose run lies beside it", async () => {
    const trained = ["-o", at("trained.onnx"), "--data", at("data.npz"), "--batch", "8"];
    expect((await cli("train", "models/mlp.onnx", ...trained)).code).toBe(0);
    expect((await cli("angles", at("trained.onnx"), "--html", at("trained.html"))).code).toBe(0);
    expect(readFileSync(at("trained.html"), "utf8")).toContain("While trained.onnx was trained</h2>");
  });
});

describe("grad", () => {
  it("writes the loss and the gradients that were asked for", async () => {
    const argv = [
      "grad",
      "models/mlp.onnx",
      "--objective",
      "cross-entropy",
      "--batch",
      "4",
      "-o",
      at("grad.onnx"),
    ];
    const { code, stdout, stderr } = await cli(...argv, "--wrt", "fc2");
    expect(code).toBe(0);
    expect(stdout).toMatch(/mlp\.onnx \(438 kB\) → \S+grad\.onnx/);
    expect(stderr).toContain("outputs: loss, fc2.weight_grad, fc2.bias_grad\n");
    const graph = decodeModel(readFileSync(at("grad.onnx"))).proto.graph;
    expect(graph?.output?.map(({ name }) => name)).toEqual(["loss", "fc2.weight_grad", "fc2.bias_grad"]);
    expect(graph?.input?.map(({ name }) => name)).toEqual(["x", "labels"]);
  });

  it("says which option fixes a free batch", async () => {
    const { code, stderr } = await cli(
      "grad",
      "models/mlp.onnx",
      "--objective",
      "mse",
      "-o",
      at("free.onnx"),
    );
    expect(code).toBeGreaterThan(0);
    expect(stderr).toMatch(/^error: .*batch.*\n$/);
  });
});
