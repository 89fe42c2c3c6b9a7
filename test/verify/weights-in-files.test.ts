import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Probe } from "../../src/analysis/probe.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { inject } from "../../src/inject/inject.ts";
import { readModelInParts, writeModel } from "../../src/onnx/files-node.ts";
import { Model } from "../../src/onnx/model.ts";
import { som } from "../../src/penalties/som.ts";
import { mappedFiles } from "../../src/runtime/data-folder-node.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { verify } from "../../src/verify/verify.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

const width = 256;

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "sorth-verify-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A probe that notes how many bytes each session is given. */
function noting(sizes: number[]): Probe {
  return {
    ...nodeProbe,
    async run(model, feeds, options) {
      sizes.push(model instanceof Uint8Array ? model.length : (await mappedFiles(model)).model.size);
      return nodeProbe.run(model, feeds, options);
    },
  };
}

it("no session gets a copy of the weights that lie in a file", async () => {
  const b = new GraphBuilder(18);
  const hidden = b.op("MatMul", [b.input("x", ["batch", width]), b.weight("w0", [width, width])], "hidden");
  b.output(b.op("MatMul", [b.op("Tanh", [hidden], "squashed"), b.weight("w1", [width, width])], "y"));
  const path = join(folder, "model.onnx");
  await writeModel(Model.fromProto(graphToProto(b.graph, { irVersion: 8 })), path);
  const original = await readModelInParts(path, 0);
  const penalised = join(folder, "model.sorth.onnx");
  await writeModel(await inject(original, { penalties: [som()] }, nodeProbe), penalised);
  const sizes: number[] = [];
  const { passed } = await verify(original, await readModelInParts(penalised, 0), {}, noting(sizes));
  expect(passed).toBe(true);
  expect(sizes.length).toBeGreaterThan(4);
  expect(Math.max(...sizes)).toBeLessThan(width * width * 4);
});
