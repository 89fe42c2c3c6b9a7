import { describe, expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  type AdapterLayer,
  adapterOf,
  addAdapters,
  decodeAdapter,
  decodeModel,
  encodeAdapter,
  encodeModel,
  encodeOnnxAdapter,
  graphOf,
  inspect,
  type LoraOptions,
  loadAdapter,
  Model,
  mergeAdapters,
  Tensor,
  unmerge,
} from "../../src/index.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { encodeTensors } from "../../src/programs/checkpoint.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { runModel } from "../helpers/run-model.ts";

const modelOf = (b: GraphBuilder): Model =>
  decodeModel(encodeModel(Model.fromProto(graphToProto(b.graph, { irVersion: 8 }))));

const x4 = Tensor.float(
  "x",
  [3, 4],
  Array.from({ length: 12 }, (_, i) => Math.sin(i)),
);
const images = Tensor.float(
  "x",
  [2, 3, 6, 6],
  Array.from({ length: 216 }, (_, i) => Math.sin(i)),
);

/** Layers as exporters write them; the second of each model gives the output. */
const models: Readonly<
  Record<string, { x?: Tensor; build: (b: GraphBuilder) => void; kinds?: readonly string[] }>
> = {
  "Gemm with transB, Gemm with alpha": {
    build: (b) => {
      const x = b.input("x", ["batch", 4]);
      const h = b.op("Gemm", [x, b.weight("fc1.weight", [5, 4]), b.weight("fc1.bias", [5])], "h", {
        transB: 1,
        alpha: 0.5,
      });
      b.output(b.op("Gemm", [b.op("Relu", [h], "r"), b.weight("fc2.weight", [5, 3])], "y"));
    },
  },
  "MatMul and Add of rank 3, its weight behind Transpose and Reshape": {
    x: Tensor.float(
      "x",
      [2, 3, 4],
      Array.from({ length: 24 }, (_, i) => Math.sin(i)),
    ),
    build: (b) => {
      const x = b.input("x", ["batch", 3, 4]);
      const w = b.op(
        "Transpose",
        [b.op("Reshape", [b.weight("fc1.weight", [20]), b.int64("s", [5, 4])], "w5")],
        "wt",
        { perm: [1, 0] },
      );
      const h = b.op("Add", [b.op("MatMul", [x, w], "p"), b.weight("fc1.bias", [5])], "h");
      b.output(b.op("MatMul", [h, b.weight("fc2.weight", [5, 3])], "y"));
    },
  },
  "MatMul, Cast and Add, as Keras's own exporter writes them": {
    build: (b) => {
      const p = b.op("MatMul", [b.input("x", ["batch", 4]), b.weight("fc1.weight", [4, 5])], "p");
      const h = b.op("Add", [b.op("Cast", [p], "c", { to: 1 }), b.weight("fc1.bias", [5])], "h");
      b.output(b.op("MatMul", [h, b.weight("fc2.weight", [5, 3])], "y"));
    },
    kinds: ["dora", "ia3"],
  },
  "the weight on the left": {
    build: (b) => {
      const x = b.input("x", [3, 4]);
      const h = b.op("MatMul", [b.weight("fc1.weight", [5, 3]), x], "h");
      b.output(b.op("Gemm", [b.weight("fc2.weight", [5, 2]), h], "y", { transA: 1 }));
    },
  },
  convolutions: {
    x: images,
    build: (b) => {
      const x = b.input("x", ["batch", 3, 6, 6]);
      const h = b.op("Conv", [x, b.weight("c1.weight", [4, 3, 3, 3]), b.weight("c1.bias", [4])], "h", {
        pads: [1, 1, 1, 1],
        strides: [2, 2],
      });
      const k = b.op("Conv", [h, b.weight("c2.weight", [4, 4, 1, 1])], "k");
      b.output(b.op("GlobalAveragePool", [b.op("Conv", [k, b.weight("c3.weight", [2, 4, 1, 1])], "z")], "y"));
    },
  },
  "convolutions with groups, one of them depthwise": {
    x: Tensor.float(
      "x",
      [2, 4, 6, 6],
      Array.from({ length: 288 }, (_, i) => Math.sin(i)),
    ),
    build: (b) => {
      const x = b.input("x", ["batch", 4, 6, 6]);
      const h = b.op("Conv", [x, b.weight("c1.weight", [6, 2, 3, 3]), b.weight("c1.bias", [6])], "h", {
        ...{ group: 2, pads: [1, 1, 1, 1], strides: [2, 2] },
      });
      const k = b.op("Conv", [h, b.weight("c2.weight", [6, 1, 3, 3])], "k", { group: 6 });
      b.output(b.op("GlobalAveragePool", [k], "y"));
    },
    kinds: ["ia3", "ia3 of inputs"],
  },
  "an embedding whose table is also the weight of the last layer": {
    x: Tensor.of("x", "int64", [2, 3], BigInt64Array.from([0, 4, 2, 2, 1, 3], BigInt)),
    build: (b) => {
      const x = b.input("x", ["batch", 3], "int64");
      const table = b.weight("emb.weight", [5, 4]);
      const h = b.op("Gather", [table, x], "h");
      const t = b.op("Transpose", [table], "t", { perm: [1, 0] });
      b.output(b.op("MatMul", [h, t], "y"));
    },
    kinds: ["lora", "dora"],
  },
  "a weight that something else reads too": {
    build: (b) => {
      const x = b.input("x", ["batch", 4]);
      const w = b.weight("fc1.weight", [4, 4]);
      const h = b.op("MatMul", [x, w], "h");
      b.output(
        b.op(
          "MatMul",
          [
            b.op("Add", [h, b.op("ReduceSum", [w], "sum", { keepdims: 0 })], "a"),
            b.weight("fc2.weight", [4, 2]),
          ],
          "y",
        ),
      );
    },
  },
};

/** The model with B of every adapter filled with other numbers than zeros, and DoRA's lengths changed. */
async function trained(model: Model): Promise<Model> {
  const adapter = await adapterOf(model);
  const layers = adapter.layers.map((layer) => ({
    ...layer,
    ...("factors" in layer
      ? { factors: filled(layer.factors, (i) => 1.5 + Math.cos(3 * i) / 4) }
      : { up: filled(layer.up, (i) => Math.cos(3 * i) / 4) }),
    ...("magnitude" in layer &&
      layer.magnitude && {
        magnitude: filled(layer.magnitude, (i, number) => number * (1.1 + i / 10)),
      }),
  })) as AdapterLayer[];
  return loadAdapter(model, { ...adapter, layers });
}

const filled = (tensor: Tensor, numberAt: (i: number, before: number) => number): Tensor =>
  Tensor.float(
    "",
    tensor.dims,
    Array.from(tensor.numbers(), (number, i) => numberAt(i, Number(number))),
  );

const difference = (a: Tensor, b: Tensor): number =>
  Math.max(...a.numbers().map((number, i) => Math.abs(number - (b.numbers()[i] ?? Number.NaN))));

describe("adapters", () => {
  const kinds = ["lora", "dora", "ia3", "ia3 of inputs"];
  const cases = Object.entries(models).flatMap(([name, model]) =>
    (model.kinds ?? kinds).map((kind) => ({ name, kind, ...model })),
  );
  for (const { name, kind, x = x4, build } of cases) {
    const [dora, ia3] = [kind === "dora", kind.startsWith("ia3")];
    test(`${name}: ${kind}`, async () => {
      const b = new GraphBuilder(17);
      build(b);
      const model = modelOf(b);
      const run = async (one: Model) => (await runModel(encodeModel(one), { x })).y as Tensor;
      const options: LoraOptions = ia3
        ? { ia3, include: /./, ...(kind === "ia3 of inputs" && { feedforward: /1|c2/ }) }
        : { rank: 2, alpha: 3, include: /./, dora };
      const adapted = await addAdapters(model, options);
      const before = await run(model);
      // The lengths are rounded to float32.
      if (dora) expect(difference(await run(adapted), before)).toBeLessThan(1e-6);
      else {
        expect((await run(adapted)).numbers()).toEqual(before.numbers());
        expect(equalBytes((await mergeAdapters(adapted)).bytes, model.bytes)).toBe(true);
      }
      const { parameters } = await inspect(adapted);
      const own = ia3
        ? /\.ia3_l(_input)?$/
        : dora
          ? /\.lora_(embedding_[AB]|[AB]|magnitude_vector)(_2)?$/
          : /\.lora_(embedding_)?[AB]$/;
      expect(parameters.map((one) => one.name).every((one) => own.test(one))).toBe(true);

      const changed = await trained(adapted);
      const after = await run(changed);
      expect(difference(after, before)).toBeGreaterThan(0.05);
      const merged = await mergeAdapters(changed);
      expect(difference(await run(merged), after)).toBeLessThan(3e-6);
      expect(graphOf(merged).nodes.map((node) => node.op)).toEqual(
        graphOf(model).nodes.map((node) => node.op),
      );

      const { tensors, config } = await encodeAdapter(await adapterOf(changed));
      const read = await decodeAdapter(tensors, config);
      expect(equalBytes((await mergeAdapters(model, read)).bytes, merged.bytes)).toBe(true);
      if (dora) await expect(unmerge(merged, read)).rejects.toThrow(/cannot be taken out .* DoRA scales/);
      else expect(difference(await run(await unmerge(merged, read)), before)).toBeLessThan(3e-6);
      const twice = await mergeAdapters(model, [
        { adapter: read, weight: 0.25 },
        { adapter: read, weight: 0.75 },
      ]);
      if (!ia3) expect(difference(await run(twice), after)).toBeLessThan(3e-6);
      else {
        // Factors multiply, one adapter after the other.
        const back = [
          { adapter: read, weight: -0.75 },
          { adapter: read, weight: -0.25 },
        ];
        expect(difference(await run(await mergeAdapters(twice, back)), before)).toBeLessThan(3e-6);
      }
    });
  }
});

test("a model of IR version 3 takes no adapter of ONNX Runtime", async () => {
  const b = new GraphBuilder(8);
  b.output(b.op("MatMul", [b.input("x", ["batch", 4]), b.weight("fc1.weight", [4, 2])], "y"));
  const model = decodeModel(encodeModel(Model.fromProto(graphToProto(b.graph, { irVersion: 3 }))));
  const adapted = await addAdapters(model, { include: /fc1/ });
  await expect(encodeOnnxAdapter(adapted)).rejects.toThrow(/its file has IR version 3 or less/);
  await expect(encodeOnnxAdapter(model)).rejects.toThrow(/IR version 3/);
});

describe("a file of PEFT", () => {
  const numbers = new Map([
    ["base_model.model.fc1.lora_A.weight", Tensor.float("a", [1, 4], [1, 2, 3, 4])],
    ["base_model.model.fc1.lora_B.weight", Tensor.float("b", [2, 1], [1, 2])],
  ]);
  const file = new Uint8Array(Buffer.concat(encodeTensors(numbers, {})));

  test.each([
    ["{", "adapter_config.json is not JSON"],
    ["null", "adapter_config.json is no object"],
    ["{}", "is an adapter with peft_type undefined"],
    ['{"peft_type":"LORA","r":"8"}', "r in adapter_config.json is no number"],
    ['{"peft_type":"LORA","use_dora":true}', "has use_dora, and no lora_magnitude_vector"],
  ])("with the configuration %s is refused", async (config, message) => {
    await expect(decodeAdapter(file, config)).rejects.toThrow(message);
  });

  test("with a pattern that would take forever is read without it", async () => {
    const patterns = { "(.*a)*(.*b)*x": 3, fc1: 5 };
    const config = JSON.stringify({ peft_type: "LORA", alpha_pattern: patterns });
    expect((await decodeAdapter(file, config)).layers).toMatchObject([{ module: "fc1", alpha: 5 }]);
  });

  test("with a last layer in PyTorch's layout replaces that of a MatMul; a table that PEFT keeps beside is left out", async () => {
    const b = new GraphBuilder(17);
    const h = b.op("MatMul", [b.input("x", ["batch", 4]), b.weight("fc1.weight", [4, 2])], "h");
    b.output(b.op("MatMul", [h, b.weight("fc2.weight", [2, 3])], "y"));
    const more = new Map([
      ...numbers,
      ["base_model.model.fc2.weight", Tensor.float("w", [3, 2], [1, 2, 3, 4, 5, 6])],
      ["base_model.model.emb.base_layer.weight", Tensor.float("e", [1, 2], [7, 8])],
    ]);
    const adapter = await decodeAdapter(
      new Uint8Array(Buffer.concat(encodeTensors(more, {}))),
      '{"peft_type":"LORA"}',
    );
    expect([...adapter.saved.keys()]).toEqual(["fc2.weight"]);
    const merged = graphOf(await mergeAdapters(modelOf(b), adapter));
    expect(merged.valueNamed("fc2.weight").initializer?.numbers()).toEqual([1, 3, 5, 2, 4, 6]);
  });
});
