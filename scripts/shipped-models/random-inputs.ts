import { resolveInputs } from "../../src/analysis/dimensions.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { readModel } from "../../src/index.ts";
import type { DataTypeName } from "../../src/onnx/data-types.ts";
import { randomTensor } from "../../src/onnx/random-tensors.ts";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { Random } from "../../src/random.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import type { Lengths } from "./lengths.ts";

/** Single numbers that a model takes beside its data, by name: no random ones, whose logarithm may be NaN. In Hz. */
const settings: Readonly<Record<string, number>> = { fmin: 50, fmax: 2000 };

/** Random numbers for an input of a model. */
export function randomInput(
  random: Random,
  { name, type, shape }: { name: string; type: DataTypeName; shape: readonly number[] },
): Tensor {
  const setting = settings[name];
  if (setting !== undefined && type === "float" && shape.length === 0)
    return Tensor.float(name, [], [setting]);
  // A sample that is masked out may have no answer: some models say NaN there.
  if (type === "bool" && /mask/.test(name)) {
    return Tensor.of(name, "bool", shape, new Uint8Array(elementCount(shape)).fill(1));
  }
  return randomTensor(random, name, type, shape);
}

/** Runs a model once on random numbers. @throws SorthError with ONNX Runtime's message when it does not run at these sizes */
export async function runOnce(path: string, { batch, dims }: Lengths): Promise<void> {
  const model = await readModel(path);
  const random = new Random("shipped models", 1);
  const feeds = new Map<string, Tensor>();
  const inputs = resolveInputs(graphOf(model), { dims, ...(batch !== undefined && { batch }) });
  for (const [{ name, type }, shape] of inputs) {
    if (type) feeds.set(name, randomInput(random, { name, type, shape }));
  }
  await nodeProbe.run(model, feeds);
}
