import { resolveInputs } from "../../src/analysis/dimensions.ts";
import type { Graph } from "../../src/graph/graph.ts";
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

/**
 * The rows of the smallest table from which each input picks rows by number. Zeros and ones alone may say nothing: to rxnmap.onnx,
 * they are places without an atom, and then no weight changes its output.
 */
export function rowsOfTables(graph: Graph): Map<string, number> {
  const rows = new Map<string, number>();
  for (const { name, uses } of graph.inputs) {
    for (const { node, index } of uses) {
      const dims = node.op === "Gather" && index === 1 ? node.inputs[0]?.initializer?.dims : undefined;
      const length = dims?.at(node.int("axis", 0));
      if (length) rows.set(name, Math.min(length, rows.get(name) ?? length));
    }
  }
  return rows;
}

/**
 * Random numbers for an input of a model.
 * @param rows - of the table from which the input picks rows: integers below that, by default 0 and 1
 */
export function randomInput(
  random: Random,
  { name, type, shape }: { name: string; type: DataTypeName; shape: readonly number[] },
  rows?: number,
): Tensor {
  const setting = settings[name];
  if (setting !== undefined && type === "float" && shape.length === 0)
    return Tensor.float(name, [], [setting]);
  // A sample that is masked out may have no answer: some models say NaN there.
  if (type === "bool" && /mask/.test(name)) {
    return Tensor.of(name, "bool", shape, new Uint8Array(elementCount(shape)).fill(1));
  }
  return randomTensor(random, name, type, shape, rows);
}

/** Runs a model once on random numbers. @throws SorthError with ONNX Runtime's message when it does not run at these sizes */
export async function runOnce(path: string, { batch, dims }: Lengths): Promise<void> {
  const model = await readModel(path);
  const random = new Random("shipped models", 1);
  const feeds = new Map<string, Tensor>();
  const graph = graphOf(model);
  const inputs = resolveInputs(graph, { dims, ...(batch !== undefined && { batch }) });
  const rows = rowsOfTables(graph);
  for (const [{ name, type }, shape] of inputs) {
    if (type) feeds.set(name, randomInput(random, { name, type, shape }, rows.get(name)));
  }
  await nodeProbe.run(model, feeds);
}
