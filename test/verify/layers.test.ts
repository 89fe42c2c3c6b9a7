import { describe, expect, test } from "vitest";
import { graphOf } from "../../src/graph/model-graph.ts";
import { inject } from "../../src/inject/inject.ts";
import { Model } from "../../src/onnx/model.ts";
import type { onnx } from "../../src/onnx/schema.js";
import { Tensor } from "../../src/onnx/tensor.ts";
import type { Penalty } from "../../src/penalties/penalty.ts";
import type { Matrix, PenaltyReference } from "../../src/penalties/plain-layer.ts";
import { mc, so } from "../../src/penalties/public.ts";
import { som } from "../../src/penalties/som.ts";
import { parsePlan } from "../../src/penalties/text.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import type { VerifyCheck } from "../../src/verify/report.ts";
import { type VerifyOptions, verify } from "../../src/verify/verify.ts";
import { randomNormals } from "../helpers/numbers.ts";
import { info, modelOf } from "../inject/models.ts";

type Nodes = onnx.NodeProto.$Properties[];

const weight = (name: string, dims: number[], size = 1) => {
  const count = dims.reduce((a, b) => a * b, 1);
  return Tensor.float(
    name,
    dims,
    randomNormals(name, count).map((x) => size * x),
  ).toProto();
};

/** A model with the input x [N, …dims] and the output y. */
const modelFrom = (
  dims: number[],
  node: Nodes,
  initializer: onnx.TensorProto[],
  others: onnx.ValueInfoProto.$Properties[] = [],
): Model =>
  Model.fromBytes(
    modelOf({
      ...{ name: "layers", node, initializer },
      input: [info("x", "float", ["N", ...dims]), ...others],
      output: [{ name: "y" }],
    }),
  );

const dense = (inputs: number, units: number): Model =>
  modelFrom(
    [inputs],
    [{ opType: "MatMul", name: "dense", input: ["x", "w"], output: ["y"] }],
    [weight("w", [inputs, units], 1 / Math.sqrt(inputs))],
  );

const image = (channels: number, units: number, size: number): Model =>
  modelFrom(
    [channels, size, size],
    [{ opType: "Conv", name: "image", input: ["x", "w"], output: ["y"] }],
    [weight("w", [units, channels, 3, 3], 0.2)],
  );

async function checked(model: Model, penalty: string, options: VerifyOptions = {}): Promise<VerifyCheck[]> {
  const injected = await inject(model, { penalties: [parsePlan(penalty)] }, nodeProbe);
  return [...(await verify(model, injected, options, nodeProbe)).checks];
}

const failed = (checks: readonly VerifyCheck[]): VerifyCheck[] =>
  checks.filter(({ status }) => status === "failed");

const named = (checks: readonly VerifyCheck[], name: string): VerifyCheck | undefined =>
  checks.find((check) => check.name === name);

describe("what a sound injection is never told to fail for", () => {
  const relu = (bias: number): Model =>
    modelFrom(
      [6],
      [
        { opType: "MatMul", name: "first", input: ["x", "w1"], output: ["a"] },
        { opType: "Add", input: ["a", "b"], output: ["z"] },
        { opType: "Relu", input: ["z"], output: ["r"] },
        { opType: "MatMul", name: "second", input: ["r", "w2"], output: ["y"] },
      ],
      [
        weight("w1", [6, 5]),
        Tensor.float("b", [5], [bias, bias, bias, bias, bias]).toProto(),
        weight("w2", [5, 4]),
      ],
    );

  test.each(["som", "decov", "vicreg", "barlow"])(
    "%s of a layer that answers with zeros only",
    async (name) => {
      const checks = await checked(relu(-100), name);
      expect(failed(checks)).toEqual([]);
      expect(named(checks, "gradient of second")?.detail).toContain("not checked (dead units)");
    },
  );

  test("a model that runs at one batch size alone, though its input leaves the batch free", async () => {
    const model = modelFrom(
      [6],
      [
        { opType: "MatMul", name: "dense", input: ["x", "w"], output: ["a"] },
        { opType: "Reshape", input: ["a", "shape"], output: ["y"] },
      ],
      [weight("w", [6, 5]), Tensor.int64("shape", [2], [4, 5]).toProto()],
    );
    const checks = await checked(model, "som");
    expect(failed(checks)).toEqual([]);
    expect(named(checks, "batch stays free")?.detail).toMatch(
      /^not checked: the original does not run at batch 5/,
    );
  });

  test("responses far beyond saturation", async () => {
    const model = modelFrom(
      [6],
      [
        { opType: "Mul", input: ["x", "million"], output: ["large"] },
        { opType: "MatMul", name: "dense", input: ["large", "w"], output: ["y"] },
      ],
      [Tensor.float("million", [], [1e6]).toProto(), weight("w", [6, 8])],
    );
    const checks = await checked(model, "som");
    expect(failed(checks)).toEqual([]);
    expect(named(checks, "penalty of dense")?.status).toBe("passed");
    expect(named(checks, "gradient of dense")?.detail).toContain("too steep to integrate along");
  });

  test.each([
    ["som", 2],
    ["som", 18],
    ["som:center=true", 17],
    ["som:reduction=sum,lambda1=2", 21],
  ])("%s of two classes whose cosine is near 0 behind a saturated tanh (head %i)", async (penalty, seed) => {
    const model = modelFrom(
      [8],
      [{ opType: "MatMul", name: "head", input: ["x", `w${seed}`], output: ["y"] }],
      [weight(`w${seed}`, [8, 2], 0.7)],
    );
    expect(failed(await checked(model, penalty))).toEqual([]);
  });

  test("Dropout in training form, in a body too, and other draws", async () => {
    const model = modelFrom(
      [6],
      [
        { opType: "MatMul", name: "first", input: ["x", "w1"], output: ["a"] },
        { opType: "Dropout", input: ["a", "half", "training"], output: ["d"] },
        { opType: "RandomNormalLike", input: ["d"], output: ["noise"] },
        { opType: "Add", input: ["d", "noise"], output: ["e"] },
        { opType: "MatMul", name: "second", input: ["e", "w2"], output: ["y"] },
      ],
      [
        ...[weight("w1", [6, 16]), weight("w2", [16, 4])],
        Tensor.float("half", [], [0.5]).toProto(),
        Tensor.of("training", "bool", [], Uint8Array.of(1)).toProto(),
      ],
    );
    const checks = await checked(model, "som");
    expect(failed(checks)).toEqual([]);
    expect(named(checks, "draws")?.detail).toBe(
      'compared with the draws of 1 Dropout node in training form switched off, one seed for "RandomNormalLike"',
    );
    expect(named(checks, "outputs bit-identical")?.status).toBe("passed");
  });

  test("inputs that the model answers with NaN", async () => {
    const model = modelFrom(
      [6],
      [
        { opType: "Sqrt", input: ["x"], output: ["root"] },
        { opType: "MatMul", name: "dense", input: ["root", "w"], output: ["y"] },
      ],
      [weight("w", [6, 3], 0.1)],
    );
    const checks = await checked(model, "som");
    expect(failed(checks)).toEqual([]);
    expect(named(checks, "inputs")?.detail).toBe(
      'the original gives NaN on these inputs ("y"): give --data, or see whether sorth-onnx inspect finds such numbers in its weights',
    );
    const x = Tensor.float("x", [8, 6], randomNormals("positive", 48).map(Math.abs));
    const right = await checked(model, "som", { feeds: new Map([["x", x]]) });
    expect(named(right, "gradient of dense")?.status).toBe("passed");
  });

  test.each(["mc", "mma", "mhe", "keras", "keras:mode=columns", "so", "srip", "spectral-so", "biggan"])(
    "%s of orthogonal weights, where terms cancel or the penalty has a kink",
    async (name) => {
      const identity = Float32Array.from({ length: 36 }, (_, i) => (i % 7 === 0 ? 1 : 0));
      const model = modelFrom(
        [6],
        [{ opType: "MatMul", name: "dense", input: ["x", "w"], output: ["y"] }],
        [Tensor.float("w", [6, 6], identity).toProto()],
      );
      expect(failed(await checked(model, name))).toEqual([]);
    },
  );
});

describe.each([
  ["16 units of 6 numbers", dense(6, 16)],
  ["1,500 units on 4 rows", dense(16, 1500)],
  ["24 channels on 7,200 rows", image(3, 24, 62)],
])("%s", (_, model) => {
  const penalties = ["som", "som:scale=rms", "vicreg", "barlow"];
  test.each(penalties)("%s passes, its gradient too", async (name) => {
    const checks = await checked(model, name);
    expect(failed(checks)).toEqual([]);
    const gradient = checks.find((check) => check.name.startsWith("gradient of"));
    expect(gradient).toMatchObject({ status: "passed" });
  });

  test("a block whose tanh is 1 % steeper, or that reads a copy of the responses, fails", async () => {
    const injected = await inject(model, { penalties: [parsePlan("som")] }, nodeProbe);
    const steeper = await failuresOf(model, injected, (graph) => {
      const ten = new Uint8Array(Float32Array.of(10).buffer);
      for (const node of graph.node ?? []) {
        const tensor = node.attribute?.[0]?.t;
        if (!tensor?.rawData || Buffer.compare(tensor.rawData, ten) !== 0) continue;
        tensor.rawData = new Uint8Array(Float32Array.of(10.1).buffer);
      }
    });
    expect(steeper).toContain("penalty");
    // Right at the data, but no function of the weights.
    const dims = graphOf(model).inputs[0]?.declared?.slice(1).map(Number) ?? [];
    const x = Tensor.float("x", [4, ...dims], randomNormals("x", 4 * dims.reduce((a, b) => a * b, 1)));
    const feeds = new Map([["x", x]]);
    const y = (await nodeProbe.run(model.bytes, feeds, { optimize: false })).get("y")?.named("frozen");
    const copied = await failuresOf(
      model,
      injected,
      (graph) => {
        if (y) graph.initializer?.push(y.toProto());
        for (const node of graph.node ?? []) {
          if (!node.name?.startsWith("sorth/")) continue;
          node.input = (node.input ?? []).map((name) => (name === "y" ? "frozen" : name));
        }
      },
      feeds,
    );
    expect(copied.filter((name) => name !== "initializers unchanged")).toEqual([
      expect.stringContaining("gradient of"),
    ]);
  });
});

/** The checks that fail once an injected model was changed. */
async function failuresOf(
  model: Model,
  injected: Model,
  change: (graph: onnx.GraphProto.$Properties) => void,
  feeds?: ReadonlyMap<string, Tensor>,
): Promise<string[]> {
  const { proto } = Model.fromBytes(injected.bytes.slice());
  change(proto.graph ?? {});
  const { checks } = await verify(model, Model.fromProto(proto), { ...(feeds && { feeds }) }, nodeProbe);
  return failed(checks).map(({ name }) => name);
}

test("18,000 units behind an open batch are checked like any others, gradient and all", async () => {
  const checks = await checked(dense(3, 18_000), "som");
  expect(failed(checks)).toEqual([]);
  expect(named(checks, "gradient of dense")?.status).toBe("passed");
  expect(named(checks, "outputs at the default level")?.detail).toMatch(/^largest relative difference/);
  expect(named(checks, "batch stays free")?.status).toBe("passed");
});

test("layers beyond the budget are named, the smaller ones are checked", async () => {
  const model = modelFrom(
    [16],
    [
      { opType: "MatMul", name: "small", input: ["x", "w1"], output: ["a"] },
      { opType: "MatMul", name: "large", input: ["a", "w2"], output: ["y"] },
    ],
    [weight("w1", [16, 8], 0.2), weight("w2", [8, 900], 0.3)],
  );
  const checks = await checked(model, "so", { budget: 1e-3 });
  expect(failed(checks)).toEqual([]);
  expect(named(checks, "gradient of small")?.status).toBe("passed");
  expect(named(checks, "penalty of large")?.detail).toBe(
    "not checked for its size (900 units of 8 numbers); --budget 0 checks everything",
  );
  const all = await checked(model, "so", { budget: 0 });
  expect(named(all, "gradient of large")?.status).toBe("passed");
  await expect(checked(model, "so", { budget: -1 })).rejects.toThrow(/budget must be a number of at least 0/);
});

test("thousands of units that answer alike: their cosines are rounded the same way, sum after sum", async () => {
  const [inputs, units] = [16, 6_000];
  const w = Tensor.float(
    "w",
    [inputs, units],
    randomNormals("w", inputs * units).map((x) => 0.02 + 0.002 * x),
  ).toProto();
  const node = [{ opType: "MatMul", name: "dense", input: ["x", "w"], output: ["y"] }];
  const x = Tensor.float(
    "x",
    [32, inputs],
    randomNormals("x", 32 * inputs).map((value) => 1 + 0.8 * value),
  );
  const checks = await checked(modelFrom([inputs], node, [w]), "som", {
    batch: 32,
    feeds: new Map([["x", x]]),
  });
  expect(failed(checks)).toEqual([]);
}, 120_000);

test("3,072 units, most of them saturated: the sums of their rows are equal numbers", async () => {
  const [inputs, units] = [16, 3_072];
  const w = randomNormals("w", inputs * units).map((x, i) => ((i % units) % 50 === 0 ? x : 1));
  const x = randomNormals("x", 16 * inputs).map((value) => 5 + 2 * value);
  const node = [{ opType: "MatMul", name: "dense", input: ["x", "w"], output: ["y"] }];
  const model = modelFrom([inputs], node, [Tensor.float("w", [inputs, units], w).toProto()]);
  const feeds = new Map([["x", Tensor.float("x", [16, inputs], x)]]);
  expect(failed(await checked(model, "som", { feeds }))).toEqual([]);
}, 120_000);

/** A penalty as a user's own whose reference has another gradient. */
function changed(
  { definition, options }: Penalty,
  change: (gradient: PenaltyReference["gradient"]) => PenaltyReference["gradient"],
): Penalty {
  const reference: typeof definition.reference = (layer, given) => {
    const plain = definition.reference?.(layer, given) as PenaltyReference;
    return { value: plain.value, gradient: change(plain.gradient) };
  };
  return { definition: { ...definition, name: `own-${definition.name}`, reference }, options };
}
const scaled = (rows: Matrix | undefined, factor: number) => rows?.map((row) => row.map((x) => factor * x));

test.each<[string, Penalty]>([
  ["a penalty of a millionth", changed(so(), ({ weights }) => ({ weights: scaled(weights, 1.01) ?? [] }))],
  [
    "a bias of zeros",
    changed(som({ bias: "remove" }), ({ bias, ...others }) => ({
      ...others,
      bias: bias?.map((x) => -x) ?? [],
    })),
  ],
])("a wrong gradient of %s is found on the layer that has it, beside right ones", async (_, penalty) => {
  const model = modelFrom(
    [6],
    [
      { opType: "MatMul", name: "first", input: ["x", "w1"], output: ["a"] },
      { opType: "Gemm", name: "second", input: ["a", "w2", "b"], output: ["y"] },
    ],
    [weight("w1", [6, 5]), weight("w2", [5, 4]), Tensor.float("b", [4], [0, 0, 0, 0]).toProto()],
  );
  const penalties = [som(), mc(), { penalty, weight: 1e-6, include: /second/ }];
  const injected = await inject(model, { penalties }, nodeProbe);
  const { checks } = await verify(model, injected, { penalties: [penalty] }, nodeProbe);
  expect(failed(checks).map(({ name }) => name)).toEqual(["gradient of second"]);
});
