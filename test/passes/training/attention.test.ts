import { expect, test } from "vitest";
import { rules } from "../../../src/autodiff/table.ts";
import { backward } from "../../../src/autodiff/walk.ts";
import { Emit } from "../../../src/graph/emit.ts";
import type { Typed } from "../../../src/graph/emit-base.ts";
import type { Graph } from "../../../src/graph/graph.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { meanSquaredError } from "../../../src/losses/public.ts";
import { Model } from "../../../src/onnx/model.ts";
import { elementCount, Tensor } from "../../../src/onnx/tensor.ts";
import { runPass } from "../../../src/passes/pass.ts";
import { writeOutAttention } from "../../../src/passes/training/write-out-attention.ts";
import { differentiate } from "../../../src/programs/differentiate.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { compareAlong, type Point, randomDirection } from "../../autodiff/direction.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { Lcg } from "../../helpers/lcg.ts";
import { randomFloats, relativeError } from "../../helpers/numbers.ts";
import { passContext } from "../../helpers/pass-context.ts";
import { runModel } from "../../helpers/run-model.ts";

/** 2 samples of 5 tokens, 4 heads of queries, 2 of keys and values, as wide as ONNX Runtime's rotation needs. */
const [batch, length, heads, shared, width] = [2, 5, 4, 2, 16];

interface Case {
  readonly apart?: boolean;
  readonly attributes?: Readonly<Record<string, number>>;
  /** Tokens of each sample in front of its padding. */
  readonly lengths?: readonly [number, number];
  readonly rotated?: boolean;
  readonly positions?: readonly number[];
  readonly bias?: readonly number[];
  readonly sink?: boolean;
  /** Further inputs: former keys of this length. */
  readonly past?: number;
  readonly presents?: boolean;
}

const cases: Readonly<Record<string, Case>> = {
  "packed, with a cache of length 0": { past: 0, presents: true },
  "queries, keys and values apart, another scale": { apart: true, attributes: { scale: 0.3 } },
  "rotated, padding": { rotated: true, lengths: [5, 3], presents: true },
  "rotated in neighbouring pairs, apart": {
    rotated: true,
    apart: true,
    attributes: { rotary_interleaved: 1 },
  },
  "rotated from the first position on": { rotated: true, positions: [3, 1, 0, 2, 6, 0, 1, 2, 3, 4] },
  "a window, a cap": { attributes: { local_window_size: 2, softcap: 0.5 }, lengths: [5, 5] },
  "a share of the weight for nothing": { attributes: { smooth_softmax: 1 } },
  "a share of the weight for sinks, padding": { sink: true, lengths: [2, 5] },
  "a bias for all samples": { bias: [1, 4, 5, 5] },
  "a bias for all heads, padding": { bias: [2, 1, 5, 5], lengths: [4, 5], attributes: { softcap: 2.5 } },
};

function attention(given: Case): { graph: Graph; feeds: Record<string, Tensor> } {
  const b = new GraphBuilder(18, { "com.microsoft": 1 });
  const feeds: Record<string, Tensor> = {};
  const input = (name: string, shape: readonly number[]) => {
    const numbers = randomFloats(
      `attention ${name}`,
      shape.reduce((x, y) => x * y, 1),
    );
    feeds[name] = Tensor.float(name, shape, numbers);
    return b.input(name, shape);
  };
  const integers = (name: string, shape: readonly number[], values: readonly number[]) =>
    b.graph.addInitializer(Tensor.of(name, "int32", shape, Int32Array.from(values)));
  const table = (name: string, f: (x: number) => number) => {
    const angles = randomFloats("angles", 8 * (width / 2), 0, 6);
    return b.graph.addInitializer(Tensor.float(name, [8, width / 2], Array.from(angles, f)));
  };
  const tokens = (count: number) => [batch, length, count * width];
  const queries = given.apart
    ? [input("q", tokens(heads)), input("k", tokens(shared)), input("v", tokens(shared))]
    : [input("qkv", tokens(heads + 2 * shared)), null, null];
  const former = (name: string) =>
    given.past === undefined ? null : b.weight(name, [batch, shared, given.past, width]);
  const lengths = (given.lengths ?? [length, length]).map((count) => count - 1);
  const outputs = b.many(
    "GroupQueryAttention",
    [
      ...queries,
      former("past_key"),
      former("past_value"),
      integers("lengths", [batch], lengths),
      integers("total", [], [length + (given.past ?? 0)]),
      given.rotated ? table("cosines", Math.cos) : null,
      given.rotated ? table("sines", Math.sin) : null,
      given.positions
        ? b.graph.addInitializer(Tensor.int64("positions", [batch, length], [...given.positions]))
        : null,
      given.bias ? input("bias", given.bias) : null,
      given.sink ? input("sink", [heads]) : null,
    ],
    ["y", "present_key", "present_value"],
    { num_heads: heads, kv_num_heads: shared, do_rotary: given.rotated ? 1 : 0, ...given.attributes },
    "com.microsoft",
  );
  const read = given.presents ? outputs : outputs.slice(0, 1);
  for (const output of read) if (output) b.output(output);
  return { graph: b.graph, feeds };
}

/** The graph in double: its numbers, its inputs and what is computed of them. */
function inDouble(graph: Graph): void {
  for (const value of graph.values) {
    if (value.type !== "float") continue;
    value.type = "double";
    const { initializer } = value;
    if (!initializer) continue;
    const { dims } = initializer;
    value.initializer = Tensor.of(value.name, "double", dims, Float64Array.from(initializer.numbers()));
  }
}

/** Adds the gradient of Σ v·y to a graph in double, for random v. @returns the names of the gradients, and v by output */
function addGradients(graph: Graph) {
  const emit = new Emit(graph, { prefix: "d/" });
  const projections = graph.outputs.map((value) => ({
    value,
    numbers: Float64Array.from(randomFloats(`seed ${value.name}`, elementCount(value.shape ?? []))),
  }));
  const seeds = projections.map(({ value, numbers }) => ({
    value,
    gradient: () => emit.constant("double", value.shape ?? [], numbers),
  }));
  const gradients = backward(graph, { wrt: [...graph.inputs], seeds, rules, emit });
  const names = graph.inputs.map(
    (input) => graph.addOutput(emit.identity(gradients.get(input) as Typed)).name,
  );
  return { names, projections };
}

test.each(Object.entries(cases))(
  "GroupQueryAttention, %s: ONNX Runtime's numbers, and their derivative",
  async (name, given) => {
    const { graph, feeds } = attention(given);
    const expected = await runModel(graph, feeds);
    await runPass(writeOutAttention(), graph, passContext(graph));
    expect(graph.nodes.filter(({ domain }) => domain !== "")).toEqual([]);
    const actual = await runModel(graph, feeds);
    expect(Object.keys(actual)).toEqual(Object.keys(expected));
    for (const [output, theirs] of Object.entries(expected)) {
      expect(actual[output]?.dims).toEqual(theirs.dims);
      expect(relativeError(actual[output]?.numbers() ?? [], theirs.numbers())).toBeLessThan(1e-6);
    }

    inDouble(graph);
    const { names, projections } = addGradients(graph);
    const values = (point: Point) => {
      const tensors = [...point].map(([key, numbers]) =>
        Tensor.of(key, "double", feeds[key]?.dims ?? [], Float64Array.from(numbers)),
      );
      return runModel(graph, Object.fromEntries(tensors.map((tensor) => [tensor.name, tensor])));
    };
    const at: Point = new Map(Object.entries(feeds).map(([key, tensor]) => [key, tensor.numbers()]));
    const computed = await values(at);
    const gradient: Point = new Map(
      graph.inputs.map((input, i) => [input.name, computed[names[i] ?? ""]?.numbers() ?? []]),
    );
    const f = async (point: Point) => {
      const results = await values(point);
      return projections.reduce((sum, { value, numbers }) => {
        const y = results[value.name]?.numbers() ?? [];
        return sum + numbers.reduce((total, v, i) => total + v * (y[i] as number), 0);
      }, 0);
    };
    const direction = randomDirection(at, new Lcg(name));
    const verdict = await compareAlong(direction, { type: "double", at, gradient, f });
    expect(verdict).toEqual({ kind: "agrees", zero: false });
  },
);

test.each([
  [{ past: 2 }, "it continues former tokens"],
  [{ attributes: { qk_output: 1 } }, "its output output_qk is read"],
])("%o is refused by name", async (given: Case, reason) => {
  const { graph } = attention({ ...given, apart: true });
  const [node] = graph.nodes;
  if (given.attributes && node) graph.addOutput(graph.addNodeOutput(node, 3, "scores"));
  for (const input of [...graph.inputs]) {
    graph.inputToInitializer(
      input,
      Tensor.float(input.name, input.shape ?? [], new Float32Array(elementCount(input.shape ?? []))),
    );
  }
  const loss = differentiate(
    Model.fromProto(graphToProto(graph)),
    { objective: meanSquaredError(), trainable: /q/ },
    nodeProbe,
  );
  await expect(loss).rejects.toThrow(`GroupQueryAttention (node "y"): ${reason}`);
});
