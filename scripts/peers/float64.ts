import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeModel } from "../../src/onnx/files-node.ts";
import { decodeModel, encodeModel, Model } from "../../src/onnx/model.ts";
import type { Tensor } from "../../src/onnx/tensor.ts";
import type { GradientModel } from "../../src/programs/differentiate.ts";
import { pythonInterpreter } from "../python-environment.ts";
import type { OwnGradient } from "./compare.ts";
import { foldedLike } from "./folded-layer.ts";
import type { Reference } from "./reference.ts";
import { readSafeTensors } from "./safetensors.ts";

const script = fileURLToPath(new URL("float64.py", import.meta.url));

/**
 * The gradients that a gradient graph computes in float64, by onnx's reference evaluator, which shows whether the graph is
 * right apart from float32 rounding. Folded weights are PyTorch's, since the exporter may round them differently in the last bit.
 */
export async function gradientsInFloat64(
  gradient: GradientModel,
  own: readonly OwnGradient[],
  reference: Reference,
): Promise<OwnGradient[]> {
  const tensors = await inFloat64(withFolds(gradient.model, own, reference), reference);
  return own.flatMap((entry) => {
    const found = tensors.get(gradient.gradients.get(entry.name) ?? "");
    return found ? [{ ...entry, gradient: found }] : [];
  });
}

/** Runs a model in float64 on the data of a reference. */
export async function inFloat64(run: Model, reference: Reference): Promise<ReadonlyMap<string, Tensor>> {
  const folder = dirname(reference.path);
  const model = join(folder, `float64-${process.pid}.onnx`);
  const outputs = join(folder, `float64-${process.pid}.safetensors`);
  try {
    await writeModel(run, model, { force: true });
    execFileSync(pythonInterpreter("peers-python"), [script, model, reference.path, outputs], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    return readSafeTensors(outputs).tensors;
  } finally {
    rmSync(model, { force: true });
    rmSync(outputs, { force: true });
  }
}

function withFolds(model: Model, own: readonly OwnGradient[], reference: Reference): Model {
  const layers = own.flatMap(({ value }) => foldedLike(value, reference) ?? []);
  if (layers.length === 0) return model;
  const replaced = new Map(layers.map(({ value }) => [value.name, value.toProto()]));
  const { proto } = decodeModel(encodeModel(model));
  if (proto.graph) {
    proto.graph.initializer = (proto.graph.initializer ?? []).map(
      (tensor) => replaced.get(tensor.name ?? "") ?? tensor,
    );
  }
  return Model.fromProto(proto);
}
