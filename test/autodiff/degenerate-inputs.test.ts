import { expect, test } from "vitest";
import { rules } from "../../src/autodiff/table.ts";
import { backward } from "../../src/autodiff/walk.ts";
import type { Attribute } from "../../src/graph/attribute.ts";
import { float, int, ints, string } from "../../src/graph/attribute.ts";
import { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { Graph } from "../../src/graph/graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";

type Input = { readonly shape: readonly number[]; readonly values: readonly number[]; readonly bool?: true };

/**
 * Gradients to all float inputs of ⟨dy, y⟩, at points where a difference quotient says nothing: y does not exist there in
 * one direction or jumps.
 */
async function gradientsOf(
  op: string,
  inputs: readonly Input[],
  y: { readonly shape: readonly number[]; readonly dy: readonly number[] },
  attributes: Readonly<Record<string, Attribute>> = {},
): Promise<number[][]> {
  const [domain, opType] = op.startsWith("com.microsoft.")
    ? ["com.microsoft", op.slice("com.microsoft.".length)]
    : ["", op];
  const graph = new Graph("test", new Map([["", 23], ...(domain ? [[domain, 1] as const] : [])]));
  const feeds = new Map<string, Tensor>();
  const values = inputs.map(({ shape, values: numbers, bool }, i) => {
    const name = `x${i}`;
    if (bool) return graph.addInitializer(Tensor.of(name, "bool", shape, Uint8Array.from(numbers)));
    feeds.set(name, Tensor.float(name, shape, numbers));
    return graph.addInput(name, "float", shape);
  });
  const node = graph.addNode({
    opType,
    domain,
    name: "node",
    attributes: new Map(Object.entries(attributes)),
    inputs: values,
    outputs: ["y"],
  });
  const output = node.outputs[0] as Typed;
  output.type = "float";
  output.shape = y.shape;
  const emit = new Emit(graph, { prefix: "d/" });
  const wrt = values.filter((value) => !value.initializer);
  const seed = () => emit.constant("float", y.shape, Float32Array.from(y.dy));
  const gradients = backward(graph, { wrt, seeds: [{ value: output, gradient: seed }], rules, emit });
  const results = wrt.map((value) => graph.addOutput(emit.identity(gradients.get(value) as Typed)));
  const run = await nodeProbe.run(encodeModelProto(graphToProto(graph, { irVersion: 10 })), feeds);
  return results.map(({ name }) => [...(run.get(name)?.numbers() ?? [])]);
}

const rounded = (values: readonly number[] | undefined) => values?.map((x) => Math.round(x * 1e5) / 1e5 + 0);

test.each([1, 2])(
  "LpNormalization, p = %i: a vector of zeros passes nothing on, its neighbour its own",
  async (p) => {
    const x = { shape: [2, 2], values: [0, 0, 3, -4] };
    const [dx] = await gradientsOf(
      "LpNormalization",
      [x],
      { shape: [2, 2], dy: [1, 2, 1, 0] },
      { p: int(p) },
    );
    // p = 2: (dy − y·⟨dy, y⟩)/5 with y = (0.6, −0.8); p = 1: (dy − sign x·⟨dy, y⟩)/7 with y = (3/7, −4/7)
    const neighbour = p === 2 ? [(1 - 0.6 * 0.6) / 5, (0.8 * 0.6) / 5] : [(1 - 3 / 7) / 7, 3 / 7 / 7];
    expect(rounded(dx)).toEqual(rounded([0, 0, ...neighbour]));
  },
);

test("LpNormalization, p = 1: |x| has slope 0 at 0", async () => {
  const x = { shape: [3], values: [0, 1, 3] };
  const [dx] = await gradientsOf("LpNormalization", [x], { shape: [3], dy: [0, 1, 0] }, { p: int(1) });
  // (dy − sign x·⟨dy, y⟩)/4 with y = (0, 1/4, 3/4)
  expect(rounded(dx)).toEqual([0, 0.1875, -0.0625]);
});

test("MeanVarianceNormalization of equal numbers: the slope of its own 1e-9, no NaN", async () => {
  const x = { shape: [2, 2], values: [5, 5, 1, 3] };
  const y = { shape: [2, 2], dy: [1, 0, 1, 1] };
  const [dx] = await gradientsOf("MeanVarianceNormalization", [x], y, { axes: ints([1]) });
  expect(dx?.slice(0, 2).map((value) => Math.round(value / 1e8))).toEqual([5, -5]);
  expect(rounded(dx?.slice(2))).toEqual([0, 0]);
});

test("normalizations of equal numbers: x − mean is 0 and 1/√ε its slope", async () => {
  const x = { shape: [1, 2], values: [7, 7] };
  const one = { shape: [2], values: [1, 1] };
  const y = { shape: [1, 2], dy: [1, 0] };
  const epsilon = { epsilon: float(0.25) };
  expect((await gradientsOf("LayerNormalization", [x, one], y, epsilon)).map(rounded)).toEqual([
    [1, -1],
    [0, 0],
  ]);
  const zeros = { shape: [1, 2], values: [0, 0] };
  expect((await gradientsOf("RMSNormalization", [zeros, one], y, epsilon)).map(rounded)).toEqual([
    [2, 0],
    [0, 0],
  ]);
});

test("CDist, euclidean: equal rows pull at nothing", async () => {
  const a = { shape: [1, 2], values: [1, 2] };
  const b = { shape: [2, 2], values: [1, 2, 4, 6] };
  const y = { shape: [1, 2], dy: [1, 1] };
  const gradients = await gradientsOf("com.microsoft.CDist", [a, b], y, { metric: string("euclidean") });
  expect(gradients.map(rounded)).toEqual([
    [-0.6, -0.8],
    [0, 0, 0.6, 0.8],
  ]);
});

/** Two queries, of which the second sees no key; values 1 and 3; equal scores. */
const query = { shape: [1, 1, 2, 1], values: [0, 0] };
const key = { shape: [1, 1, 2, 1], values: [2, 4] };
const value = { shape: [1, 1, 2, 1], values: [1, 3] };

test.each([
  ["booleans", { shape: [2, 2], values: [1, 1, 0, 0], bool: true as const }],
  ["−∞", { shape: [2, 2], values: [0, 0, -Infinity, -Infinity] }],
  ["the lowest float", { shape: [2, 2], values: [0, 0, -3.4028234663852886e38, -3.4028234663852886e38] }],
])("Attention, mask of %s: a query without keys has no part in any gradient", async (_, mask) => {
  const y = { shape: [1, 1, 2, 1], dy: [1, 10] };
  const [dq, dk, dv, dMask] = await gradientsOf("Attention", [query, key, value, mask], y);
  // P = (½, ½), dS = P∘(dP − ⟨dP, P⟩) = (−½, ½)
  expect(rounded(dq)).toEqual([1, 0]);
  expect(rounded(dk)).toEqual([0, 0]);
  expect(rounded(dv)).toEqual([0.5, 0.5]);
  if (dMask) expect(rounded(dMask)).toEqual([-0.5, 0.5, 0, 0]);
});
