import { copyFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { npz } from "./npz.ts";
import { cli, snapshot, temporaryFolder } from "./run-cli.ts";

let folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);

beforeEach(async () => {
  folder = temporaryFolder();
  copyFileSync("models/mlp.onnx", at("model.onnx"));
  writeFileSync(
    at("data.npz"),
    npz(16, [1, 28, 28], (index) => index % 10),
  );
  await cli("inject", at("model.onnx"));
});
afterEach(() => folder.remove());

/** What each writing command is called with, and what it then leaves beside its input. */
const writers: Readonly<Record<string, { argv: () => string[]; files: readonly string[] }>> = {
  inject: { argv: () => ["inject", at("model.onnx"), "--force"], files: ["model.sorth.onnx"] },
  strip: { argv: () => ["strip", at("model.sorth.onnx")], files: ["model.stripped.onnx"] },
  grad: {
    argv: () => ["grad", at("model.onnx"), "--objective", "cross-entropy", "--batch", "2"],
    files: ["model.grad.onnx"],
  },
  step: {
    argv: () => ["step", at("model.onnx"), "--batch", "2"],
    files: ["model.step.onnx", "model.step.initial.onnx"],
  },
  "step --split": {
    argv: () => ["step", at("model.onnx"), "--batch", "2", "--split"],
    files: ["model.step.gradients.onnx", "model.step.update.onnx", "model.step.initial.onnx"],
  },
  artifacts: {
    argv: () => ["artifacts", at("model.onnx"), "--batch", "2"],
    files: ["training_model.onnx", "eval_model.onnx", "optimizer_model.onnx", "checkpoint"].map(
      (name) => `model.artifacts/${name}`,
    ),
  },
  train: {
    argv: () => [
      ...["train", at("model.onnx"), "--data", at("data.npz")],
      ...["--batch", "8", "--no-report", "--max-steps", "1"],
    ],
    files: ["model.trained.onnx"],
  },
};

describe("without -o", () => {
  it.each(Object.entries(writers))(
    "%s writes beside its input, says so, and replaces nothing",
    async (_, { argv, files }) => {
      const first = await cli(...argv());
      expect(first).toMatchObject({ code: 0 });
      for (const file of files) expect(first.stdout).toContain(`→ ${at(file)} (`);
      const written = readdirSync(folder.path, { recursive: true });
      expect(written).toEqual(expect.arrayContaining([...files]));

      const before = snapshot(folder.path);
      const again = await cli(...argv().filter((flag) => flag !== "--force"));
      expect(again).toMatchObject({ code: 2, stdout: "" });
      expect(again.stderr).toMatch(/^error: "[^"]+" already exists; give another name with -o, or --force/);
      expect(snapshot(folder.path)).toEqual(before);
    },
  );

  it("strip gives back the file that inject was given", async () => {
    await cli("strip", at("model.sorth.onnx"));
    expect(readFileSync(at("model.stripped.onnx")).equals(readFileSync(at("model.onnx")))).toBe(true);
  });
});

/** A folder that no file system lets anybody write into, root included. Node's own way of making folders in it has no end. */
const never = "/proc/sorth";

describe.skipIf(!existsSync("/proc/self"))("where nothing can be written", () => {
  it("every command says so before it works", async () => {
    const data = ["--data", at("data.npz")];
    const calls = [
      ...Object.values(writers).map(({ argv }) => [...argv(), "-o", never]),
      ...["--checkpoint", "--tensorboard"].map((flag) => [...(writers.train?.argv() ?? []), flag, never]),
      ...["angles", "evaluate", "find-lr"].map((name) => [name, at("model.onnx"), ...data, "--html", never]),
      ["predict", at("model.onnx"), ...data, "-o", `${never}.csv`],
      ["distribute", at("model.onnx"), ...data, "-o", never],
    ];
    for (const call of calls) {
      const { code, stdout, stderr } = await cli(...call);
      expect({ code, stdout }, stderr).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(/^error: cannot write "\/proc\/sorth[^"]*": no such file or folder\n$/);
    }
    expect(readdirSync(folder.path).sort()).toEqual(["data.npz", "model.onnx", "model.sorth.onnx"]);
  });
});

describe("verify with one file", () => {
  it("checks it against the original that it gives back", async () => {
    const { code, stdout, stderr } = await cli("verify", at("model.sorth.onnx"));
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: `checked against the original that "${at("model.sorth.onnx")}" gives back\n`,
    });
    expect(stdout).toMatch(/^passed {2}/);
  });

  it("refuses a file without a penalty, and three files", async () => {
    const plain = await cli("verify", at("model.onnx"));
    expect(plain).toMatchObject({ code: 2, stdout: "" });
    expect(plain.stderr).toContain(`no penalty was injected into "${at("model.onnx")}"`);
    const three = await cli("verify", at("model.onnx"), at("model.onnx"), at("model.sorth.onnx"));
    expect(three).toMatchObject({ code: 2, stdout: "" });
  });
});
