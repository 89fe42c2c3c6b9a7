import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { InferenceSession } from "onnxruntime-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { Emit } from "../../src/graph/emit.ts";
import { graphOf, modelOf } from "../../src/graph/model-graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { Model } from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { runForms } from "../../src/passes/backends/table.ts";
import { runPasses } from "../../src/passes/pass.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { temporaryFolder } from "../cli/run-cli.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { maxDifference, randomFloats } from "../helpers/numbers.ts";
import { fromOrt, toOrt } from "../helpers/run-model.ts";
import { keepDevice, useGpu } from "../helpers/software-gpu.ts";
import { stillThere } from "./still-there.ts";

// The faults of WebGPU in docs/runtime-faults.md: each fails here once ONNX Runtime no longer has it.

const missing = useGpu();
keepDevice(missing);

type Attributes = Parameters<GraphBuilder["op"]>[3];

/** One node on an input x; further inputs are constants. */
function oneNode(
  op: string,
  dims: readonly number[],
  constants: (b: GraphBuilder) => readonly (ReturnType<GraphBuilder["input"]> | undefined)[],
  attributes: Attributes = {},
  domain = "",
  outputs: readonly string[] = ["y"],
): Model {
  const b = new GraphBuilder(19, domain === "" ? {} : { [domain]: 1 });
  const x = b.input("x", dims);
  const found = b.many(op, [x, ...constants(b)] as never, outputs, attributes, domain);
  for (const value of found) if (value) b.output(value);
  return Model.fromProto(graphToProto(b.graph, { irVersion: 9 }));
}

const numbers = (b: GraphBuilder, name: string, dims: readonly number[], data?: readonly number[]) =>
  b.graph.addInitializer(
    Tensor.float(
      name,
      dims,
      data ??
        randomFloats(
          name,
          dims.reduce((a, c) => a * c, 1),
        ),
    ),
  );
const none = () => [];
const sizes = (b: GraphBuilder, scales: readonly number[]) => [
  undefined,
  numbers(b, "scales", [scales.length], scales),
];

async function outputsOf(model: Model, x: Tensor, provider: "cpu" | "webgpu"): Promise<number[][]> {
  const session = await InferenceSession.create(model.bytes, {
    executionProviders: [provider],
    ...{ graphOptimizationLevel: "disabled" as const, logSeverityLevel: 4 as const },
  });
  try {
    const results = await session.run({ x: toOrt(x) });
    return session.outputNames.map((name) => [...fromOrt(name, results[name] as never).numbers()]);
  } finally {
    await session.release();
  }
}

const isNear = (found: readonly number[][], expected: readonly number[][], distance: number): boolean =>
  expected.every((y, i) => y.length === found[i]?.length && maxDifference(y, found[i] ?? []) < distance);

const reduction = (op: string) => oneNode(op, [2, 3], none, { noop_with_empty_axes: 1 });
const refusal = "its entry in refuse-miscomputed.ts";
const text = (value: string) => ({ kind: "string", value }) as never;
const wrong: Readonly<Record<string, { model: Model; x: readonly number[]; remedy: string; nan?: true }>> = {
  "ReduceL2 without axes": { model: reduction("ReduceL2"), x: [2, 3], remedy: refusal },
  "ReduceLogSum without axes": { model: reduction("ReduceLogSum"), x: [2, 3], remedy: refusal },
  "ReduceSumSquare without axes": { model: reduction("ReduceSumSquare"), x: [2, 3], remedy: refusal },
  "Einsum that broadcasts": {
    model: oneNode("Einsum", [1, 3], (b) => [numbers(b, "w", [2, 3])], { equation: text("ij,ij->ij") }),
    ...{ x: [1, 3], remedy: refusal },
  },
  "Pad that wraps and crops": {
    model: oneNode("Pad", [2, 4], (b) => [b.int64("pads", [0, -1, 0, 2])], { mode: text("wrap") }),
    ...{ x: [2, 4], remedy: refusal },
  },
  "Resize, nearest, half_pixel_symmetric": {
    model: oneNode("Resize", [1, 1, 7, 7], (b) => sizes(b, [1, 1, 0.45, 0.45]), {
      ...{ mode: text("nearest"), coordinate_transformation_mode: text("half_pixel_symmetric") },
      nearest_mode: text("floor"),
    }),
    ...{ x: [1, 1, 7, 7], remedy: refusal },
  },
  "Resize, linear, by less than a pixel": {
    model: oneNode("Resize", [1, 1, 4, 4], (b) => sizes(b, [1, 1, 1.2, 1.2]), {
      ...{ mode: text("linear") },
    }),
    ...{ x: [1, 1, 4, 4], remedy: refusal },
  },
  "Resize of the channels": {
    model: oneNode("Resize", [1, 2, 3, 3], (b) => sizes(b, [1, 2, 1, 1]), { mode: text("linear") }),
    ...{ x: [1, 2, 3, 3], remedy: refusal },
  },
  "LSTM with clip and peepholes": {
    model: oneNode(
      "LSTM",
      [2, 3, 2],
      (b) => [
        numbers(b, "w", [1, 12, 2]),
        numbers(b, "r", [1, 12, 3]),
        // The output gate would be far below the clip of −1.
        numbers(b, "b", [1, 24], Array(24).fill(-3)),
        ...[undefined, undefined, undefined],
        numbers(b, "p", [1, 9], Array(9).fill(-1)),
      ],
      { hidden_size: 3, clip: { kind: "float", value: 1 } as never },
    ),
    ...{ x: [2, 3, 2], remedy: refusal },
  },
  "Conv with two groups of six outputs": {
    model: oneNode("Conv", [1, 4, 3, 3], (b) => [numbers(b, "w", [12, 2, 2, 2])], { group: 2 }),
    ...{ x: [1, 4, 3, 3], remedy: "fill-groups.ts" },
  },
  "ConvTranspose with groups of two inputs and one output": {
    model: oneNode("ConvTranspose", [1, 4, 3, 3], (b) => [numbers(b, "w", [4, 1, 2, 2])], { group: 2 }),
    ...{ x: [1, 4, 3, 3], remedy: "fill-groups.ts" },
  },
  "Slice backwards from another element than the last one": {
    model: oneNode("Slice", [5, 2], (b) =>
      Object.entries({ starts: [2], ends: [-6], axes: [0], steps: [-2] }).map(([name, of]) =>
        b.int64(name, of),
      ),
    ),
    ...{ x: [5, 2], remedy: "slice-then-turn.ts" },
  },
  "Pow that broadcasts its last axis": {
    model: oneNode("Pow", [2, 4], (b) => [numbers(b, "e", [2, 1], [2, 3])]),
    ...{ x: [2, 4], remedy: "powers-alike.ts" },
  },
  "SimplifiedLayerNormalization's second output": {
    model: oneNode(
      ...(["SimplifiedLayerNormalization", [3, 8], (b: GraphBuilder) => [numbers(b, "w", [8])]] as const),
      ...([{ axis: -1 }, "", ["y", "d"]] as const),
    ),
    ...{ x: [3, 8], remedy: "deviation-apart.ts" },
  },
  "Relu of NaN": { model: oneNode("Relu", [2, 3], none), x: [2, 3], remedy: "nothing", nan: true },
};

describe("computed wrongly without an error", () => {
  test.skipIf(missing !== "").each(Object.entries(wrong))("%s", async (name, { model, x, remedy, nan }) => {
    const length = x.reduce((a, b) => a * b, 1);
    const random = randomFloats(name, length);
    const data = nan ? random.fill(Number.NaN) : name.includes("Log") ? random.map(Math.abs) : random;
    const given = Tensor.float("x", x, data);
    const expected = await outputsOf(model, given, "cpu");
    const found = await outputsOf(model, given, "webgpu").catch((): number[][] => []);
    const isWrong = nan ? found.flat().every((y) => y === 0) : !isNear(found, expected, 1e-2);
    stillThere(isWrong, remedy);
    if (nan || remedy === refusal) return;
    const graph = graphOf(model);
    await inferShapes(graph, nodeProbe);
    const context = { emit: new Emit(graph, { prefix: "gpu/" }), probe: nodeProbe };
    await runPasses(await runForms("webgpu", nodeProbe), graph, context);
    const right = await outputsOf(modelOf(graph, model), given, "webgpu");
    expect(isNear(right, expected, 1e-5), `${remedy}: ${right[0]} in place of ${expected[0]}`).toBe(true);
  });
});

test.skipIf(missing !== "")(
  "some outputs of a session that keeps outputs on the device cannot be fetched alone",
  async () => {
    const b = new GraphBuilder(17);
    const x = b.input("x", [2]);
    b.output(b.op("Neg", [x], "y"));
    b.output(b.op("Tanh", [x], "z"));
    const bytes = Model.fromProto(graphToProto(b.graph, { irVersion: 8 })).bytes;
    const session = await InferenceSession.create(bytes, {
      executionProviders: ["webgpu"],
      logSeverityLevel: 4,
      preferredOutputLocation: { y: "cpu", z: "gpu-buffer" },
    });
    const feeds = { x: toOrt(Tensor.float("x", [2], [1, -2])) };
    const all = await session.run(feeds);
    expect(all.y?.data).toEqual(Float32Array.from([-1, 2]));
    all.z?.dispose();
    const alone = await session.run(feeds, ["y"]).then(
      ({ y }) => y?.location === "cpu" && (y.data as Float32Array)[0] === -1,
      () => false,
    );
    await session.release();
    stillThere(!alone, "the fetch of all outputs of device-session.ts");
  },
);

describe("ends the process", () => {
  let folder: ReturnType<typeof temporaryFolder>;
  beforeAll(() => {
    folder = temporaryFolder();
  });
  afterAll(() => folder.remove());

  const last = "The end of the script was reached.";
  /** Runs a model on WebGPU in a process of its own. */
  function endsProcess(name: string, model: Model, x: readonly number[], options = "", then = ""): boolean {
    const path = join(folder.path, name);
    writeFileSync(path, model.bytes);
    const length = x.reduce((a, b) => a * b, 1);
    const script = `const ort = require("onnxruntime-node");
      (async () => {
        const session = await ort.InferenceSession.create(${JSON.stringify(path)}, { executionProviders: ["webgpu"], logSeverityLevel: 4, ${options} });
        const { y } = await session.run({ x: new ort.Tensor("float32", new Float32Array(${length}), ${JSON.stringify(x)}) });
        ${then};
      })().catch(() => {}).then(() => { console.log("${last}"); process.exit(0); });`;
    const { stdout, error } = spawnSync(process.execPath, ["-e", script], {
      encoding: "utf8",
      timeout: 150_000,
    });
    if (error) throw error;
    return !stdout.includes(last);
  }

  test.skipIf(missing !== "")("Einsum of an empty input", () => {
    const model = oneNode("Einsum", [2, 0], (b) => [numbers(b, "w", [0, 4])], {
      equation: text("ij,jk->ik"),
    });
    stillThere(endsProcess("einsum.onnx", model, [2, 0]), refusal);
  });

  test.skipIf(missing !== "")("FusedConv with an added input", () => {
    const more = (b: GraphBuilder) => [
      ...[numbers(b, "w", [2, 2, 1, 1]), undefined, numbers(b, "z", [1, 2, 3, 3])],
    ];
    const model = oneNode("FusedConv", [1, 2, 3, 3], more, { activation: text("Relu") }, "com.microsoft");
    stillThere(endsProcess("fused.onnx", model, [1, 2, 3, 3]), refusal);
  });

  test.skipIf(missing !== "")("getData() of a tensor on the device", () => {
    const options = 'preferredOutputLocation: "gpu-buffer"';
    const ends = endsProcess(
      "data.onnx",
      oneNode("Relu", [2, 3], none),
      [2, 3],
      options,
      "await y.getData()",
    );
    stillThere(ends, "the second session of device-session.ts that reads back");
  });
});
