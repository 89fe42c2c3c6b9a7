import { InferenceSession } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { Emit } from "../../../src/graph/emit.ts";
import type { Graph } from "../../../src/graph/graph.ts";
import type { Value } from "../../../src/graph/node.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { encodeModel, Model } from "../../../src/index.ts";
import type { DataTypeName } from "../../../src/onnx/data-types.ts";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { integerKernels } from "../../../src/passes/backends/integer-kernels.ts";
import { narrowedKey, narrowIntegers } from "../../../src/passes/backends/narrow-integers.ts";
import { writeOutMissingOn } from "../../../src/passes/backends/write-out-missing.ts";
import { runPasses } from "../../../src/passes/pass.ts";
import { narrowedFeeds } from "../../../src/runtime/device-session.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { inferred } from "../../helpers/inferred.ts";
import { fromOrt, toOrt } from "../../helpers/run-model.ts";
import { keepDevice, useGpu } from "../../helpers/software-gpu.ts";

const missing = useGpu();
keepDevice(missing);

const modelOf = (graph: Graph) => Model.fromProto(graphToProto(graph, { irVersion: 9 }));
const run = (graph: Graph, feeds: ReadonlyMap<string, Tensor>) =>
  nodeProbe.run(encodeModel(modelOf(graph)), feeds);

async function onDevice(graph: Graph): Promise<Graph> {
  const emit = new Emit(graph, { prefix: "out/" });
  const passes = [narrowIntegers(), writeOutMissingOn("webgpu"), integerKernels()];
  await runPasses(passes, graph, { emit, probe: nodeProbe });
  graph.prune();
  return graph;
}

type Build = (b: GraphBuilder, x: Value, y: Value) => Value;
const op =
  (name: string, attributes = {}, ...more: (readonly number[])[]): Build =>
  (b, x) =>
    b.op(name, [x, ...more.map((numbers, i) => b.int64(`c${i}`, numbers))], "out", attributes);
const both =
  (name: string): Build =>
  (b, x, y) =>
    b.op(name, [x, y], "out");

/** Operators on x [2, 4] and y [1, 4]. */
const moves: Readonly<Record<string, Build>> = {
  Reshape: op("Reshape", {}, [4, 2]),
  Transpose: op("Transpose", { perm: [1, 0] }),
  Unsqueeze: op("Unsqueeze", {}, [1]),
  Squeeze: (b, _, y) => b.op("Squeeze", [y, b.int64("axes", [0])], "out"),
  Flatten: op("Flatten"),
  Identity: op("Identity"),
  Expand: op("Expand", {}, [3, 2, 4]),
  Tile: op("Tile", {}, [2, 1]),
  Slice: op("Slice", {}, [3, 0], [-9, 2147483647], [1, 0], [-2, 1]),
  Split: (b, x) => b.many("Split", [x], ["first", "out"], { axis: 1, num_outputs: 2 })[1] as Value,
  Gather: op("Gather", { axis: 1 }, [3, 0]),
  GatherElements: (b, x) =>
    b.op(
      "GatherElements",
      [x, b.graph.addInitializer(Tensor.int64("places", [2, 3], [3, 0, -1, 1, -4, 2]))],
      "out",
      {
        axis: 1,
      },
    ),
  Concat: (b, x, y) => b.op("Concat", [x, y], "out", { axis: 0 }),
  Where: (b, x, y) => b.op("Where", [b.input("kept", [2, 4], "bool"), x, y], "out"),
  Equal: both("Equal"),
  Pad: op("Pad", {}, [0, 1, 0, 1]),
};
const arithmetic: Readonly<Record<string, Build>> = {
  ...Object.fromEntries(
    ["Add", "Sub", "Mul", "Max", "Min", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"].map((name) => [
      name,
      both(name),
    ]),
  ),
  Div: (b, x) => b.op("Div", [x, b.int64("by", [3])], "out"),
  Mod: (b, x) => b.op("Mod", [x, b.int64("by", [3])], "out"),
  "Mod by −3": (b, x) => b.op("Mod", [x, b.int64("by", [-3])], "out"),
  "Mod with fmod": (b, x) => b.op("Mod", [x, b.int64("by", [-3, 3, 3, -3])], "out", { fmod: 1 }),
  Neg: op("Neg"),
  Abs: op("Abs"),
  Sign: op("Sign"),
  Clip: (b, x) => b.op("Clip", [x, b.int64("low", -3), b.int64("high", 5)], "out"),
  ReduceSum: op("ReduceSum", { keepdims: 0 }, [1]),
  ReduceMax: op("ReduceMax", {}, [1]),
  CumSum: (b, x) => b.op("CumSum", [x, b.int64("axis", 1)], "out"),
  ArgMax: op("ArgMax", { axis: 1 }),
  "Cast to float": op("Cast", { to: 1 }),
  "Cast to int64 before": (b, x) => b.op("Neg", [b.op("Cast", [x], "same", { to: 7 })], "out"),
  "Gather at indices": (b, x) => b.op("Gather", [b.weight("w", [9, 2]), b.op("Abs", [x], "places")], "out"),
  "GatherND at computed places": (b, x) =>
    b.op(
      "GatherND",
      [b.weight("w", [9, 9]), b.op("Reshape", [b.op("Abs", [x], "p"), b.int64("s", [4, 2])], "q")],
      "out",
    ),
};

const numbers = [3, -1, 8, 0, -7, 2, 5, -4];
const feedsOf = (type: DataTypeName): Map<string, Tensor> => {
  const of = (name: string, dims: number[], values: readonly number[]): [string, Tensor] => {
    const data = { bool: Uint8Array, uint8: Uint8Array, int32: Int32Array }[type as "bool"];
    const own = values.map((value) =>
      type === "bool" ? (value > 0 ? 1 : 0) : type === "uint8" ? value & 255 : value,
    );
    return [name, data ? Tensor.of(name, type, dims, data.from(own)) : Tensor.int64(name, dims, own)];
  };
  const kept = Tensor.of("kept", "bool", [2, 4], Uint8Array.of(1, 0, 0, 1, 1, 1, 0, 0));
  return new Map([of("x", [2, 4], numbers), of("y", [1, 4], [3, 0, -2, 7]), ["kept", kept]]);
};

describe.each([
  ["int64", { ...moves, ...arithmetic }],
  ["int32", moves],
  // ONNX Runtime's CPU has no Where on booleans.
  ["bool", Object.fromEntries(Object.entries(moves).filter(([name]) => name !== "Where"))],
  ["uint8", moves],
] as const)("operators on %s", (type, builds) => {
  test.each(Object.entries(builds))("%s computes the same in forms that WebGPU has", async (name, build) => {
    const b = new GraphBuilder(21);
    const [x, y] = [b.input("x", [2, 4], type), b.input("y", [1, 4], type)];
    const out = build(b, x, y);
    // What runs on a device ends in floats.
    b.output(
      out.name === "out" && /float|Gather(ND)? at/.test(name) ? out : b.op("Cast", [out], "end", { to: 1 }),
    );
    const graph = await inferred(b.graph);
    const given = new Map([...feedsOf(type)].filter(([key]) => graph.value(key)?.uses.size));
    for (const input of [...graph.inputs]) if (input.uses.size === 0) graph.removeInput(input);
    const [expected] = (await run(graph, given)).values();
    const narrowed = await onDevice(graph);
    const model = modelOf(narrowed);
    const fed = new Map([...given].map(([key, tensor]) => [key, narrowedFeeds(model)(key, tensor)]));
    const [found] = (await run(narrowed, fed)).values();
    expect([found?.dims, found?.numbers()]).toEqual([expected?.dims, expected?.numbers()]);
    const wide = narrowed.nodes.filter(({ op, outputs }) => op !== "Cast" && outputs[0]?.type === "int64");
    expect(wide.map((node) => node.op)).toEqual(name === "ArgMax" ? ["ArgMax"] : []);
    if (missing) return;
    const session = await InferenceSession.create(encodeModel(model), {
      executionProviders: ["webgpu"],
      extra: { session: { disable_cpu_ep_fallback: "1" } },
      logSeverityLevel: 4,
    });
    const results = await session.run(
      Object.fromEntries([...fed].map(([key, tensor]) => [key, toOrt(tensor)])),
    );
    const [onGpu] = Object.entries(results).map(([key, tensor]) => fromOrt(key, tensor));
    expect(onGpu?.numbers()).toEqual(expected?.numbers());
    await session.release();
  });
});

describe("what may exceed 32 bits", () => {
  const limits = (graph: Graph) => JSON.parse(graph.metadata.get(narrowedKey) ?? "{}");
  const hashed = (factor: number) => {
    const b = new GraphBuilder(21);
    const product = b.op("Mul", [b.input("ids", [4], "int64"), b.int64("factor", factor)], "product");
    return inferred(b.output(b.op("Mod", [product, b.int64("buckets", 97)], "y")));
  };

  test("a product that fits is narrowed, one that may not stays", async () => {
    const small = await onDevice(await hashed(2047));
    expect(small.nodes.find(({ op }) => op === "Mul")?.outputs[0]?.type).toBe("int32");
    expect(limits(small)).toEqual({ ids: 2 ** 20 });
    for (const [factor, limit] of [
      [2048, 2 ** 15],
      [2 ** 20, 2 ** 10],
      [2 ** 26, 2 ** 5 - 1],
    ] as const) {
      expect(limits(await onDevice(await hashed(factor)))).toEqual({ ids: limit });
    }
    const large = await onDevice(await hashed(100_000_007));
    expect(large.sorted().map(({ op, outputs }) => [op, outputs[0]?.type])).toEqual([
      ["Cast", "int64"],
      ["Mul", "int64"],
      ["Mod", "int64"],
    ]);
    expect(limits(large)).toEqual({ ids: 2 ** 20 });
    const feeds = Int32Array.of(1_000_000, 5, -3, 0);
    const found = await run(large, new Map([["ids", Tensor.of("ids", "int32", [4], feeds)]]));
    expect(found.get("y")?.numbers()).toEqual([...feeds].map((id) => (((id * 100_000_007) % 97) + 97) % 97));
  });

  test("what is rounded from floats stays, since it may be of any size", async () => {
    const b = new GraphBuilder(21);
    const whole = b.op("Cast", [b.input("x", [4])], "whole", { to: 7 });
    b.output(b.op("Mod", [whole, b.int64("buckets", 97)], "y"));
    const graph = await onDevice(await inferred(b.graph));
    expect(graph.sorted().map(({ op, outputs }) => [op, outputs[0]?.type])).toEqual([
      ["Cast", "int64"],
      ["Mod", "int64"],
    ]);
  });

  test("two masks are multiplied within a lower limit, which feeds are held to", async () => {
    const b = new GraphBuilder(21);
    const mask = b.input("mask", [2, 3], "int64");
    const [row, column] = [1, 2].map((axis) =>
      b.op("Unsqueeze", [mask, b.int64(`a${axis}`, [axis])], `u${axis}`),
    );
    b.output(b.op("Gather", [b.weight("w", [9]), b.input("ids", [2, 3], "int64")], "words"));
    const graph = await onDevice(
      await inferred(
        b.output(b.op("Cast", [b.op("Mul", [row as Value, column as Value], "pairs")], "y", { to: 1 })),
      ),
    );
    expect(limits(graph)).toEqual({ mask: 2 ** 15, ids: 2 ** 20 });
    const fed = narrowedFeeds(modelOf(graph));
    expect(fed("mask", Tensor.int64("mask", [2], [1, -32768])).numbers()).toEqual([1, -32768]);
    expect(fed("mask", Tensor.int64("mask", [1], [1])).type).toBe("int32");
    expect(() => fed("mask", Tensor.int64("mask", [1], [32769]))).toThrow(
      'input "mask" has the number 32769, and WebGPU computes with whole numbers up to 32768 there: use --backend cpu',
    );
    expect(() => fed("ids", Tensor.of("ids", "int32", [1], Int32Array.of(-(2 ** 20) - 1)))).toThrow(
      "1048576",
    );
    const other = Tensor.int64("other", [1], [2 ** 40]);
    expect(fed("other", other)).toBe(other);
  });
});
