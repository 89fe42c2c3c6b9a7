import { copyFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { graphOf } from "../../src/graph/model-graph.ts";
import { decodeModel } from "../../src/onnx/model.ts";
import { formatBytes } from "../../src/report/byte-count.ts";
import { cli, temporaryFolder } from "./run-cli.ts";

let folder = temporaryFolder();
const at = (name: string) => join(folder.path, name);
const graphAt = (path: string) => graphOf(decodeModel(readFileSync(path)));

beforeEach(() => {
  folder = temporaryFolder();
  copyFileSync("models/mlp.onnx", at("in.onnx"));
});
afterEach(() => folder.remove());

describe("inject and strip", () => {
  it("add the output sorth_penalty and take it away, byte for byte", async () => {
    const injected = await cli("inject", at("in.onnx"), "-o", at("out.onnx"));
    expect(injected).toMatchObject({ code: 0, stderr: "" });
    expect(injected.stdout).toMatch(/^\S+in\.onnx \(438 kB\) → \S+out\.onnx \(\d+ kB\)\n$/);
    expect(graphAt(at("out.onnx")).outputs.map(({ name }) => name)).toEqual(["logits", "sorth_penalty"]);

    expect(await cli("strip", at("out.onnx"), "-o", at("back.onnx"))).toMatchObject({ code: 0, stderr: "" });
    expect(readFileSync(at("back.onnx")).equals(readFileSync("models/mlp.onnx"))).toBe(true);
  });

  it("choose layers and outputs by flags", async () => {
    const flags = ["--include", "fc", "--exclude", "fc2", "--per-site", "--gamma", "5", "--quiet"];
    expect(await cli("inject", at("in.onnx"), "-o", at("out.onnx"), ...flags)).toEqual({
      ...{ code: 0, stdout: "", stderr: "" },
    });
    const graph = graphAt(at("out.onnx"));
    expect(graph.outputs.map(({ name }) => name)).toEqual(["logits", "sorth_penalty", "sorth_penalty/fc1"]);
    expect(JSON.parse(graph.metadata.get("sorth") ?? "")).toMatchObject({
      penalties: [{ name: "som", weight: 0.1, options: { gamma: 5, lambda1: 0, reduction: "mean" } }],
    });
  });

  it("take several penalties, the flags for those that say nothing themselves", async () => {
    const flags = [
      "--penalty",
      "so:weight=0.01,schedule=cosine",
      "--penalty",
      "keras:mode=columns",
      "--weight",
      "2",
    ];
    expect(await cli("inject", at("in.onnx"), "-o", at("out.onnx"), ...flags)).toMatchObject({ code: 0 });
    expect(JSON.parse(graphAt(at("out.onnx")).metadata.get("sorth") ?? "")).toMatchObject({
      penalties: [
        { name: "so", options: {}, weight: 0.01, schedule: "cosine" },
        { name: "keras", options: { mode: "columns" }, weight: 2 },
      ],
    });
    const verified = await cli("verify", at("in.onnx"), at("out.onnx"));
    expect(verified).toMatchObject({ code: 0 });
    expect(await cli("strip", at("out.onnx"), "-o", at("back.onnx"))).toMatchObject({ code: 0 });
    expect(readFileSync(at("back.onnx")).equals(readFileSync("models/mlp.onnx"))).toBe(true);
  });

  it("add a loss with --objective", async () => {
    const flags = ["--objective", "cross-entropy", "--weight", "0.5"];
    expect(await cli("inject", at("in.onnx"), "-o", at("out.onnx"), ...flags)).toMatchObject({ code: 0 });
    const graph = graphAt(at("out.onnx"));
    expect(graph.inputs.filter(({ initializer }) => !initializer).map(({ name }) => name)).toEqual([
      "x",
      "labels",
    ]);
    expect(graph.outputs.map(({ name }) => name)).toContain("loss");
  });

  it("add a cross-entropy with its options", async () => {
    const flags = ["--objective", "cross-entropy", "--ignore-index", "255", "--class-axis", "last"];
    expect(await cli("inject", at("in.onnx"), "-o", at("out.onnx"), ...flags)).toMatchObject({ code: 0 });
    expect(JSON.parse(graphAt(at("out.onnx")).metadata.get("sorth") ?? "")).toMatchObject({
      objective: { name: "cross-entropy", options: { ignoreIndex: 255, classAxis: -1 } },
    });
    expect(await cli("verify", at("in.onnx"), at("out.onnx"))).toMatchObject({ code: 0 });
  });

  it("refuse a second penalty, and say what to do", async () => {
    await cli("inject", at("in.onnx"), "-o", at("out.onnx"));
    const again = await cli("inject", at("out.onnx"), "-o", at("again.onnx"));
    expect(again).toMatchObject({ code: 1, stdout: "" });
    expect(again.stderr).toContain("strip it first");
  });

  it("replace a file with --force, their own input too", async () => {
    expect((await cli("inject", at("in.onnx"), "-o", at("in.onnx"))).code).toBe(2);
    expect((await cli("inject", at("in.onnx"), "-o", at("in.onnx"), "--force")).code).toBe(0);
    expect((await cli("strip", at("in.onnx"), "-o", at("in.onnx"), "--force")).code).toBe(0);
    expect(readFileSync(at("in.onnx")).equals(readFileSync("models/mlp.onnx"))).toBe(true);
  });
});

describe("sizes for people", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1.0 kB"],
    [79_612, "80 kB"],
    [999_600, "1.0 MB"],
    [1_500_000_000, "1.5 GB"],
    [5e12, "5000 GB"],
  ])("%d bytes are %s", (bytes, text) => expect(formatBytes(bytes)).toBe(text));
});
