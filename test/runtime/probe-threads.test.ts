import type { InferenceSession } from "onnxruntime-common";
import { expect, it } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { Model } from "../../src/onnx/model.ts";
import { ortProbe } from "../../src/runtime/ort-probe.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

it("a small model runs on one thread, and one whose weights lie in files on all", async () => {
  const b = new GraphBuilder(18);
  b.output(b.op("Relu", [b.input("x", [2])], "y"));
  const model = Model.fromBytes(Model.fromProto(graphToProto(b.graph)).bytes, { path: "model.onnx" });
  const threadsOf = async (entries: Record<string, string>): Promise<number | undefined> => {
    let threads: number | undefined;
    const open = async (_: Uint8Array, options: InferenceSession.SessionOptions) => {
      threads = options.intraOpNumThreads;
      return { outputMetadata: [], run: async () => ({}), release: async () => {} } as never;
    };
    await ortProbe(open, "cpu", () => ({ model, entries })).run(model, new Map());
    return threads;
  };
  expect(await threadsOf({})).toBe(1);
  expect(await threadsOf({ model_external_initializers_file_folder_path: "/models" })).toBeUndefined();
});
