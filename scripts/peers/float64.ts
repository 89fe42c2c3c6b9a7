import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { writeModel } from "../../src/onnx/files-node.ts";
import type { GradientModel } from "../../src/training/differentiate.ts";
import { pythonInterpreter } from "../python-environment.ts";
import type { OwnGradient } from "./compare.ts";
import { readSafeTensors } from "./safetensors.ts";

const script = fileURLToPath(new URL("float64.py", import.meta.url));

/**
 * The gradients that a gradient graph computes in float64, by onnx's reference evaluator: what the graph says, apart from how
 * float32 rounds it.
 * @param reference - the file of PyTorch's figures, which holds the inputs
 * @param folder - for files in passing
 */
export async function gradientsInFloat64(
  gradient: GradientModel,
  own: readonly OwnGradient[],
  reference: string,
  folder: string,
): Promise<OwnGradient[]> {
  const model = join(folder, `float64-${process.pid}.onnx`);
  const outputs = join(folder, `float64-${process.pid}.safetensors`);
  try {
    await writeModel(gradient.model, model, { force: true });
    execFileSync(pythonInterpreter("peers-python"), [script, model, reference, outputs], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const { tensors } = readSafeTensors(outputs);
    return own.flatMap((entry) => {
      const found = tensors.get(gradient.gradients.get(entry.name) ?? "");
      return found ? [{ ...entry, gradient: found }] : [];
    });
  } finally {
    rmSync(model, { force: true });
    rmSync(outputs, { force: true });
  }
}
