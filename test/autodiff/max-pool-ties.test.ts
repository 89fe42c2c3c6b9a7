import { expect, test } from "vitest";
import { rules } from "../../src/autodiff/table.ts";
import { backward } from "../../src/autodiff/walk.ts";
import { Emit } from "../../src/graph/emit.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

/** Gradient of Σ y of a pooling of x: [1, 1, rows, columns]. */
async function gradientOf(
  op: string,
  x: readonly (readonly number[])[],
  attributes: Record<string, readonly number[]>,
  pooled: readonly number[],
) {
  const shape = [1, 1, x.length, x[0]?.length ?? 0];
  const b = new GraphBuilder();
  const input = b.input("x", shape);
  const y = b.op(op, [input], "y", attributes);
  y.type = "float";
  y.shape = pooled;
  const emit = new Emit(b.graph, { prefix: "d/" });
  const gradients = backward(b.graph, {
    wrt: [input],
    seeds: [{ value: y, gradient: () => emit.filled(1, pooled) }],
    rules,
    emit,
  });
  const gradient = gradients.get(input);
  if (!gradient) throw new Error("no gradient");
  b.output(emit.identity(gradient));
  const feeds = new Map([["x", Tensor.float("x", shape, x.flat())]]);
  const result = await nodeProbe.run(encodeModelProto(graphToProto(b.graph, { irVersion: 9 })), feeds);
  const flat = [...result.values()][0]?.numbers() ?? [];
  return x.map((row, i) => row.map((_, j) => flat[i * row.length + j]));
}

// What PyTorch gives for these.
test("windows that partition the input: the first of equal maxima, row by row, gets everything", async () => {
  const x = [
    [0, 0, 1, 2],
    [0, 0, 2, 2],
    [3, 5, 1, 7],
    [5, 3, 7, 7],
  ];
  const gradient = await gradientOf("MaxPool", x, { kernel_shape: [2, 2], strides: [2, 2] }, [1, 1, 2, 2]);
  expect(gradient).toEqual([
    [1, 0, 0, 1],
    [0, 0, 0, 0],
    [0, 1, 0, 1],
    [0, 0, 0, 0],
  ]);
});

test("overlapping windows: the first of each window", async () => {
  const x = [
    [1, 1, 1],
    [1, 1, 1],
    [1, 1, 1],
  ];
  const gradient = await gradientOf("MaxPool", x, { kernel_shape: [2, 2] }, [1, 1, 2, 2]);
  expect(gradient).toEqual([
    [1, 1, 0],
    [1, 1, 0],
    [0, 0, 0],
  ]);
});

test("padding never wins, not even against negative numbers", async () => {
  const x = [
    [-2, -3],
    [-4, -2],
  ];
  const gradient = await gradientOf("MaxPool", x, { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }, [1, 1, 2, 2]);
  expect(gradient).toEqual([
    [4, 0],
    [0, 0],
  ]);
});

test("GlobalMaxPool: the first maximum", async () => {
  const x = [
    [1, 4, 2],
    [4, 4, 0],
  ];
  expect(await gradientOf("GlobalMaxPool", x, {}, [1, 1, 1, 1])).toEqual([
    [0, 1, 0],
    [0, 0, 0],
  ]);
});
