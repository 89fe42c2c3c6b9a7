import { describe, expect, test } from "vitest";
import { quantizedLayers } from "../../src/analysis/quantized-layers.ts";
import { float, int } from "../../src/graph/attribute.ts";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  adapterOf,
  addAdapters,
  encodeModel,
  graphOf,
  Model,
  readModel,
  Tensor,
  Trainer,
} from "../../src/index.ts";
import { meanSquaredError } from "../../src/losses/public.ts";
import { adalora, oplora } from "../../src/penalties/public.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { runModel } from "../helpers/run-model.ts";

const modelOf = (b: GraphBuilder): Model => Model.fromProto(graphToProto(b.graph, { irVersion: 10 }));
const magnitudesOf = async (model: Model) =>
  (await adapterOf(model)).layers.map((layer) => ("magnitude" in layer && layer.magnitude?.numbers()) || []);

describe("DoRA beside quantized weights", () => {
  // ONNX Runtime computes the norms of what it dequantizes: with other lengths than these the outputs would change.
  test.each(["int8", "int4-qdq"])("begins with the lengths of the dequantized weights: %s", async (name) => {
    const model = await readModel(`test/fixtures/quantized/${name}.onnx`);
    const x = Tensor.float(
      "x",
      [8, 32],
      Array.from({ length: 256 }, (_, i) => Math.sin(i)),
    );
    const run = async (one: Model) =>
      (await runModel(encodeModel(one), { x }, { optimize: false })).logits as Tensor;
    const adapted = await addAdapters(model, { rank: 2, dora: true, include: /base/ });
    const [before, after] = [await run(model), await run(adapted)];
    expect(
      Math.max(...before.numbers().map((y, i) => Math.abs(y - Number(after.numbers()[i])))),
    ).toBeLessThan(2e-6);
    expect(await magnitudesOf(adapted)).toHaveLength(2);
  });

  test.each([
    { bits: 2, zeros: undefined },
    { bits: 4, zeros: undefined },
    { bits: 4, zeros: Tensor.float("zeros", [3, 3], [4, 7, 9, 5, 8, 6, 7.5, 8, 3]) },
    {
      bits: 8,
      zeros: Tensor.of("zeros", "uint8", [3, 3], Uint8Array.of(120, 130, 99, 4, 128, 0, 255, 7, 90)),
    },
  ])("$bits bits of MatMulNBits: $zeros.type", async ({ bits, zeros }) => {
    const [units, fanIn, block] = [3, 40, 16];
    const b = new GraphBuilder(21);
    b.graph.opsets.set("com.microsoft", 1);
    const bytes = Uint8Array.from({ length: units * 6 * bits }, (_, i) => (i * 73 + 11) % 256);
    const parts = [
      Tensor.of("fc.weight", "uint8", [units, 3, 2 * bits], bytes),
      Tensor.float(
        "scales",
        [9],
        Array.from({ length: 9 }, (_, i) => 0.1 + i / 30),
      ),
      ...(zeros ? [zeros] : []),
    ];
    const inputs = [b.input("x", ["batch", fanIn]), ...parts.map((part) => b.graph.addInitializer(part))];
    const settings = { K: int(fanIn), N: int(units), bits: int(bits), block_size: int(block) };
    const node = b.graph.addNode({
      ...{ opType: "MatMulNBits", domain: "com.microsoft", inputs, outputs: ["y"] },
      attributes: new Map(Object.entries(settings)),
    });
    b.output(node.outputs[0] as Value);
    const model = modelOf(b);
    const identity = Array.from({ length: fanIn ** 2 }, (_, i) => (i % (fanIn + 1) === 0 ? 1 : 0));
    const x = Tensor.float("x", [fanIn, fanIn], identity);
    const columns = ((await runModel(encodeModel(model), { x })).y as Tensor).numbers();
    const norms = Array.from({ length: units }, (_, unit) =>
      Math.hypot(...columns.filter((_, i) => i % units === unit)),
    );
    const adapted = await addAdapters(model, { rank: 2, dora: true, include: /./ });
    // The adapter's own products with the weight are no layers.
    expect(quantizedLayers(graphOf(adapted))).toHaveLength(1);
    const [found = []] = await magnitudesOf(adapted);
    for (const [unit, norm] of norms.entries()) expect(found[unit]).toBeCloseTo(norm, 5);
  });
});

describe("what takes no adapter is refused in words", () => {
  const b = new GraphBuilder(17);
  b.graph.opsets.set("com.microsoft", 1);
  const ids = b.input("ids", ["batch", 4], "int64");
  const h = b.op("Gather", [b.weight("emb.weight", [7, 6]), ids], "h");
  const image = b.op("Unsqueeze", [h, b.int64("axes", [1])], "image");
  const c = b.op(
    "Conv",
    [b.op("Transpose", [image], "t", { perm: [0, 3, 2, 1] }), b.weight("c.weight", [6, 3, 1, 1])],
    "c",
    {
      group: 2,
    },
  );
  const u = b.op("ConvTranspose", [c, b.weight("u.weight", [6, 2, 1, 1])], "u");
  b.output(b.op("Gemm", [b.op("Flatten", [u], "f"), b.weight("fc.weight", [8, 3])], "y"));
  const model = modelOf(b);

  test.each([
    [{ include: /^c$/ }, /"c": its 2 groups need a rank that is a multiple of 2/, 3],
    [{ include: /^c$/, dora: true }, /"c": DoRA needs the norms .* its groups have no product B·A/, 2],
    [{ include: /emb/, ia3: true }, /"h": IA³ scales the results of products/, undefined],
  ])("%o", async (options, message, rank) => {
    await expect(addAdapters(model, { ...options, ...(rank && { rank }) })).rejects.toThrow(message);
  });

  test.each([0, Number.POSITIVE_INFINITY, Number.NaN])("a Gemm whose alpha is %d", async (alpha) => {
    const b = new GraphBuilder(17);
    const h = b.op("Gemm", [b.input("x", ["batch", 4]), b.weight("fc1.weight", [4, 4])], "h");
    b.output(b.op("Gemm", [h, b.weight("fc2.weight", [4, 3])], "y", { alpha: float(alpha) }));
    const model = modelOf(b);
    const reason = new RegExp(`"y": it multiplies its weight by ${alpha} \\(alpha\\)`);
    await expect(addAdapters(model, { include: /fc2/ })).rejects.toThrow(reason);
    expect((await adapterOf(await addAdapters(model))).layers.map(({ module }) => module)).toEqual(["fc1"]);
  });

  test("an embedding and a convolution with groups get adapters where they are named, and not by default", async () => {
    const graph = graphOf(await addAdapters(model, { include: /emb|^c$/, rank: 2, dropout: 0.5 }));
    expect(graph.value("c.weight.lora_B")?.initializer?.dims).toEqual([6, 1, 1, 1]);
    // Indices have no dropout.
    expect(graph.nodes.filter(({ op }) => op === "Dropout")).toHaveLength(1);
    const messages: string[] = [];
    const usual = await addAdapters(model, { onMessage: (text) => messages.push(text) });
    expect((await adapterOf(usual)).layers.map(({ module }) => module)).toEqual(["u"]);
    expect(messages[0]).toMatch(/beside the convolutions/);
  });

  test.each([adalora(), oplora({ rank: 1 })])("by the penalty $name", async (penalty) => {
    const adapted = await addAdapters(model, { include: /emb|^c$/, rank: 2 });
    const options = { objective: meanSquaredError(), batch: 2, penalties: [penalty] };
    await expect(Trainer.create(adapted, options)).rejects.toThrow(
      /a convolution with groups, whose B reads only a part .*; h: no penalty: an embedding: its adapter /,
    );
  });
});
