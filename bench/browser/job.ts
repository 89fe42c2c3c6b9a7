import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pythonInterpreter } from "../../scripts/python-environment.ts";
import { decodeModel, encodeModel, inject, som } from "../../src/index.ts";
import { Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import type { BenchmarkModel } from "../models.ts";
import type { Job } from "./page.ts";

const [learningRate, penaltyWeight] = [1e-3, 1];

const base64 = (bytes: Uint8Array) =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");

/** What the pages need to train an MLP, with official artifacts that `inject` adds SOM to. */
export async function jobOf(model: BenchmarkModel, regularized: boolean): Promise<Job> {
  const folder = mkdtempSync(join(tmpdir(), "sorth-bench-"));
  try {
    writeFileSync(join(folder, "model.onnx"), model.onnx);
    const script = "bench/browser/official_artifacts.py";
    execFileSync(pythonInterpreter("official-python"), [script, join(folder, "model.onnx"), folder], {
      stdio: "ignore",
    });
    const file = (name: string) => readFileSync(join(folder, name));
    const penalties = [{ penalty: som({ lambda1: 100 }), weight: penaltyWeight }];
    const plain = file("training_model.onnx");
    const training = regularized ? encodeModel(await inject(decodeModel(plain), { penalties })) : plain;
    const weights = (decodeModel(model.onnx).proto.graph?.initializer ?? []).map((proto) => {
      const tensor = Tensor.fromProto(proto);
      return { dims: tensor.dims, data: base64(tensor.bytes) };
    });
    return {
      files: {
        model: base64(model.onnx),
        training: base64(training),
        optimizer: base64(file("optimizer_model.onnx")),
        checkpoint: base64(file("checkpoint")),
        weights: JSON.stringify(weights),
        ...weightsAsInputs(model),
      },
      x: base64(model.x.bytes),
      labels: base64(new Uint8Array(model.labels.buffer)),
      ...{ batch: model.labels.length, features: 784, learningRate, penaltyWeight },
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The model with its weights as inputs, so that other libraries can differentiate to them, and the names of its parts. */
function weightsAsInputs({ onnx }: BenchmarkModel): { weightsAsInputs: string; names: string } {
  const { proto } = decodeModel(onnx);
  const initializer = proto.graph?.initializer ?? [];
  const inputs = initializer.map(({ name, dataType, dims }) => ({
    name: name ?? "",
    type: {
      tensorType: { elemType: dataType ?? 1, shape: { dim: (dims ?? []).map((dimValue) => ({ dimValue })) } },
    },
  }));
  const graph = { ...proto.graph, initializer: [], input: [...(proto.graph?.input ?? []), ...inputs] };
  const names = {
    weights: initializer.map(({ name }) => name),
    responses: proto.graph?.node?.filter(({ opType }) => opType === "Gemm").map(({ output }) => output?.[0]),
  };
  const bytes = encodeModel(Model.fromProto({ ...proto, graph }));
  return { weightsAsInputs: base64(bytes), names: JSON.stringify(names) };
}
