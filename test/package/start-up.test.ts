import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { unbuilt } from "./installed.ts";

/** The packages, and the bytes of JavaScript, that node loads for a command: what V8 reports of its scripts. */
function loadedBy(command: readonly string[]): { packages: string[]; bytes: number } {
  const folder = mkdtempSync(join(tmpdir(), "sorth-start-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const { status, stderr } = spawnSync(process.execPath, ["dist/node/cli.js", ...command], {
    env: { ...process.env, NODE_V8_COVERAGE: folder },
    encoding: "utf8",
  });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  const scripts = readdirSync(folder).flatMap((name) => {
    const { result } = JSON.parse(readFileSync(join(folder, name), "utf8")) as { result: { url: string }[] };
    return result.flatMap(({ url }) => (url.startsWith("file:") ? [new URL(url)] : []));
  });
  const names = scripts.flatMap(
    ({ pathname }) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(pathname)?.[1] ?? [],
  );
  return {
    packages: [...new Set(names)].sort(),
    bytes: scripts.reduce((sum, url) => sum + statSync(url).size, 0),
  };
}

// Times depend on the machine, so this counts what is loaded: --help then takes 0.1 s of processor time, inspect 0.35 s.
test("commands load only what they use", (context) => {
  context.skip(unbuilt !== "", unbuilt);
  const help = loadedBy(["--help"]);
  expect(help.packages).toEqual(["commander", "signal-exit"]);
  expect(help.bytes).toBeLessThan(200_000);
  const inspect = loadedBy(["inspect", "models/mlp.onnx"]);
  expect(inspect.packages).toEqual([
    ...["ansi-regex", "cli-table3", "commander", "emoji-regex", "fflate", "flatbuffers"],
    ...["is-fullwidth-code-point", "long", "onnxruntime-common", "onnxruntime-node", "picocolors"],
    ...["protobufjs", "pure-rand", "signal-exit", "string-width", "strip-ansi"],
  ]);
  expect(inspect.bytes).toBeLessThan(3_200_000);
});

test("ONNX Runtime's own remarks on a model do not reach the terminal", (context) => {
  context.skip(unbuilt !== "", unbuilt);
  const folder = mkdtempSync(join(tmpdir(), "sorth-quiet-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const b = new GraphBuilder();
  const h = b.op("Conv", [b.input("x", [2, 1, 8, 8]), b.weight("w", [3, 1, 3, 3])], "h");
  // ONNX Runtime calls this form deprecated whenever a session is opened.
  const how = { mode: "nearest", coordinate_transformation_mode: "tf_half_pixel_for_nn" };
  const scales = b.graph.addInitializer(Tensor.float("scales", [4], Float32Array.of(1, 1, 2, 2)));
  const graph = b.output(b.op("Resize", [h, null, scales], "y", how));
  const path = join(folder, "model.onnx");
  writeFileSync(path, encodeModelProto(graphToProto(graph, { irVersion: 9 })));
  const { status, stderr } = spawnSync(process.execPath, ["dist/node/cli.js", "inject", path], {
    encoding: "utf8",
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: expect.not.stringContaining("onnxruntime") });
});
