import { describe, expect, test } from "vitest";
import { isTrainingForm } from "../../../src/analysis/batch-norm-form.ts";
import { rules } from "../../../src/autodiff/table.ts";
import { backward } from "../../../src/autodiff/walk.ts";
import { Emit } from "../../../src/graph/emit.ts";
import type { Graph } from "../../../src/graph/graph.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { encodeModelProto } from "../../../src/onnx/codec.ts";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { runGraphPass, runPass } from "../../../src/passes/pass.ts";
import { batchNormStatistics, setBatchNormForm } from "../../../src/passes/training/batch-norm.ts";
import { lowerBatchNorm } from "../../../src/passes/training/lower-batch-norm.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { randomFloats } from "../../helpers/numbers.ts";

const shape = [4, 3, 5, 2];

function normalized(opset = 18) {
  const b = new GraphBuilder(opset);
  const x = b.input("x", shape);
  const scale = b.weight("scale", [3]);
  const bias = b.weight("bias", [3]);
  const mean = b.weight("mean", [3]);
  const variance = b.graph.addInitializer(Tensor.float("variance", [3], [0.5, 1, 2]));
  const y = b.op("BatchNormalization", [x, scale, bias, mean, variance], "y", {
    momentum: 0.8,
    epsilon: 0.01,
  });
  if (!y) throw new Error("no output");
  y.type = "float";
  y.shape = shape;
  b.output(y);
  return { graph: b.graph, x, y, scale };
}

const run = (graph: Graph) =>
  nodeProbe.run(
    encodeModelProto(graphToProto(graph, { irVersion: 9 })),
    new Map([["x", Tensor.float("x", shape, randomFloats("batch norm x", 120, 1, 4))]]),
  );
const lowered = (
  graph: Graph,
  running: "onnx" | "torch" = "onnx",
  emit = new Emit(graph, { prefix: "s/" }),
) => runPass(lowerBatchNorm({ running }), graph, { emit, probe: nodeProbe });
const numbers = (tensor: Tensor | undefined) => tensor?.numbers() ?? [];
const expectClose = (actual: readonly number[], expected: readonly number[], tolerance = 1e-5) => {
  expect(actual.length).toBe(expected.length);
  actual.forEach((value, i) => {
    expect(Math.abs(value - (expected[i] ?? Number.NaN))).toBeLessThanOrEqual(tolerance);
  });
};

describe("lowerBatchNorm", () => {
  test("computes what ONNX Runtime's own training form does, running statistics too", async () => {
    const native = normalized();
    runGraphPass(setBatchNormForm({ mode: "train" }), native.graph);
    const [node] = native.graph.nodes;
    for (const output of node?.outputs.slice(1) ?? []) if (output) native.graph.addOutput(output);
    const expected = [...(await run(native.graph)).values()].map(numbers);
    expect(expected.map((list) => list.length)).toEqual([120, 3, 3]);

    const { graph } = normalized();
    runGraphPass(setBatchNormForm({ mode: "train" }), graph);
    for (const { mean, variance } of batchNormStatistics(graph)) {
      for (const value of [mean, variance]) graph.inputs.push(value);
    }
    for (const { next } of await lowered(graph)) graph.addOutput(next);
    graph.inputs.length = 1;
    expect(graph.nodes.filter(isTrainingForm)).toEqual([]);
    [...(await run(graph)).values()].forEach((tensor, i) => {
      expectClose(numbers(tensor), expected[i] ?? []);
    });
  });

  test("keeps the unbiased variance on request", async () => {
    const variances = await Promise.all(
      (["onnx", "torch"] as const).map(async (kind) => {
        const { graph } = normalized();
        runGraphPass(setBatchNormForm({ mode: "train" }), graph);
        const [statistics] = batchNormStatistics(graph);
        if (statistics) graph.inputs.push(statistics.mean, statistics.variance);
        const next = await lowered(graph, kind);
        graph.inputs.length = 1;
        for (const { next: value } of next) graph.addOutput(value);
        return numbers([...(await run(graph)).values()][2]);
      }),
    );
    const [biased, unbiased] = variances;
    const stored = [0.5, 1, 2];
    const batchPart = (list: readonly number[] | undefined) =>
      list?.map((v, i) => v - 0.8 * (stored[i] ?? 0)) ?? [];
    // M = 4·5·2 elements a channel.
    expectClose(
      batchPart(unbiased),
      batchPart(biased).map((v) => (v * 40) / 39),
    );
    expect(unbiased?.[0]).not.toBeCloseTo(biased?.[0] ?? 0, 4);
  });

  test("shares the batch's mean and variance with the gradient", async () => {
    const { graph, x, y, scale } = normalized();
    runGraphPass(setBatchNormForm({ mode: "train" }), graph);
    const emit = new Emit(graph, { prefix: "s/" });
    const gradients = backward(graph, {
      wrt: [x, scale],
      seeds: [{ value: y, gradient: () => emit.filled(1, shape) }],
      rules,
      emit,
    });
    await lowered(graph, "onnx", emit);
    for (const value of gradients.values()) graph.addOutput(value);
    graph.prune();
    expect(graph.nodes.filter(({ op }) => op === "ReduceMean").length).toBe(2);
  });
});

describe("setBatchNormForm", () => {
  test("frozen: the stored statistics, whatever form the file has", async () => {
    const expected = numbers((await run(normalized().graph)).get("y"));
    const { graph } = normalized();
    runGraphPass(setBatchNormForm({ mode: "train" }), graph);
    runGraphPass(setBatchNormForm({ mode: "frozen" }), graph);
    expect(batchNormStatistics(graph)).toEqual([]);
    expect([...graph.values].map(({ name }) => name)).toEqual([
      "x",
      "scale",
      "bias",
      "mean",
      "variance",
      "y",
    ]);
    expectClose(numbers((await run(graph)).get("y")), expected, 0);
  });
});
