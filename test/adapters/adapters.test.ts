import { describe, expect, test } from "vitest";
import {
  type AdapterLayer,
  adapterOf,
  addAdapters,
  arrayDataset,
  decodeAdapter,
  decodeOnnxAdapter,
  encodeAdapter,
  encodeModel,
  encodeOnnxAdapter,
  graphOf,
  inspect,
  type LoraOptions,
  loadAdapter,
  type Model,
  mergeAdapters,
  recoverBatchNorm,
  replaceHead,
  Tensor,
  unmerge,
} from "../../src/index.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { builtModel, GraphBuilder } from "../helpers/build-graph.ts";
import { runModel } from "../helpers/run-model.ts";

const x4 = Tensor.float(
  "x",
  [3, 4],
  Array.from({ length: 12 }, (_, i) => Math.sin(i)),
);
/** Two samples of three places. */
const rows = Tensor.float(
  "x",
  [2, 3, 4],
  Array.from({ length: 24 }, (_, i) => Math.sin(i)),
);
const images = Tensor.float(
  "x",
  [2, 3, 6, 6],
  Array.from({ length: 216 }, (_, i) => Math.sin(i)),
);

/** Of four channels. */
const images4 = Tensor.float(
  "x",
  [2, 4, 6, 6],
  Array.from({ length: 288 }, (_, i) => Math.sin(i)),
);

/** Layers as exporters write them; the second of each model gives the output. */
const models: Readonly<
  Record<string, { x?: Tensor; build: (b: GraphBuilder) => void; kinds?: readonly string[]; rank?: number }>
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
    x: rows,
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
  "matrices with axes of length 1 in front, on the right and on the left": {
    x: rows,
    build: (b) => {
      const x = b.input("x", ["batch", 3, 4]);
      const h = b.op("MatMul", [x, b.weight("fc1.weight", [1, 4, 5])], "h");
      b.output(b.op("MatMul", [b.weight("fc2.weight", [1, 2, 3]), h], "y"));
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
    x: images4,
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
  "transposed convolutions": {
    x: images,
    build: (b) => {
      const x = b.input("x", ["batch", 3, 6, 6]);
      const h = b.op(
        "ConvTranspose",
        [x, b.weight("c1.weight", [3, 4, 3, 2]), b.weight("c1.bias", [4])],
        "h",
        {
          ...{ pads: [1, 0, 1, 0], strides: [2, 1], output_padding: [1, 0] },
        },
      );
      const w = b.op("Transpose", [b.weight("c2.weight", [2, 4, 1, 1])], "w", { perm: [1, 0, 2, 3] });
      b.output(b.op("GlobalAveragePool", [b.op("ConvTranspose", [h, w], "z")], "y"));
    },
  },
  "transposed convolutions with groups, one of them depthwise": {
    x: images4,
    build: (b) => {
      const x = b.input("x", ["batch", 4, 6, 6]);
      const h = b.op(
        "ConvTranspose",
        [x, b.weight("c1.weight", [4, 3, 3, 3]), b.weight("c1.bias", [6])],
        "h",
        {
          group: 2,
        },
      );
      b.output(
        b.op(
          "GlobalAveragePool",
          [b.op("ConvTranspose", [h, b.weight("c2.weight", [6, 1, 2, 2])], "k", { group: 6 })],
          "y",
        ),
      );
    },
    rank: 6,
    kinds: ["lora", "ia3", "ia3 of inputs"],
  },
  "attention with the projections inside": {
    x: rows,
    build: (b) => {
      b.graph.opsets.set("com.microsoft", 1);
      const x = b.input("x", ["batch", 3, 4]);
      const settings = { num_heads: 2, qkv_hidden_sizes: [4, 4, 6] };
      const operands = [x, b.weight("fc1.weight", [4, 14]), b.weight("fc1.bias", [14])];
      const h = b.op("Attention", operands, "h", settings, "com.microsoft");
      b.output(b.op("MatMul", [h, b.weight("fc2.weight", [6, 2])], "y"));
    },
  },
  "one square weight that is read as it is and transposed": {
    build: (b) => {
      const x = b.input("x", ["batch", 4]);
      const w = b.weight("fc1.weight", [4, 4]);
      const h = b.op("Gemm", [x, w], "h");
      const k = b.op("MatMul", [h, b.op("Transpose", [w], "t", { perm: [1, 0] })], "k");
      b.output(b.op("Gemm", [k, w], "y", { transB: 1 }));
    },
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
  for (const { name, kind, x = x4, build, rank = 2 } of cases) {
    const [dora, ia3] = [kind === "dora", kind.startsWith("ia3")];
    test(`${name}: ${kind}`, async () => {
      const b = new GraphBuilder(17);
      build(b);
      const model = builtModel(b);
      const run = async (one: Model) => (await runModel(encodeModel(one), { x })).y as Tensor;
      const options: LoraOptions = ia3
        ? { ia3, include: /./, ...(kind === "ia3 of inputs" && { feedforward: /1|c2/ }) }
        : { rank, alpha: 3, include: /./, dora };
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
          ? /\.lora_(embedding_[AB]|[AB]|magnitude_vector)$/
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
      // B holds the scaling there, rounded to float32.
      const { adapter } = await encodeOnnxAdapter(changed);
      const fromOnnx = await mergeAdapters(model, await decodeOnnxAdapter(adapter));
      expect(difference(await run(fromOnnx), after)).toBeLessThan(3e-6);
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

  test("say that they are merged first, before a layer of the model becomes another one", async () => {
    const b = new GraphBuilder(17);
    models["Gemm with transB, Gemm with alpha"]?.build(b);
    const model = builtModel(b);
    const data = arrayDataset(x4.data as Float32Array, Int32Array.of(0, 1, 2), [4]);
    // Also where the last layer carries none: nothing would train the new one.
    for (const include of [/./, /fc1/]) {
      const adapted = await addAdapters(model, { rank: 2, include });
      await expect(replaceHead(adapted, { classes: 2 })).rejects.toThrow(/has adapters.*: merge them first/);
      await expect(recoverBatchNorm(adapted, data)).rejects.toThrow(
        /has adapters.*: merge the adapters first/,
      );
    }
    const adapted = await addAdapters(model, { rank: 2, include: /fc1/, trainHead: true });
    const { parameters } = await inspect(await replaceHead(adapted, { classes: 2 }));
    expect(parameters.find(({ name }) => name === "fc2.weight")?.shape).toEqual([5, 2]);
  });
});
