import { expect, test } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import {
  adapterOf,
  addAdapters,
  encodeModel,
  loadAdapter,
  type Model,
  mergeAdapters,
  Tensor,
} from "../../src/index.ts";
import { builtModel, GraphBuilder } from "../helpers/build-graph.ts";
import { runModel } from "../helpers/run-model.ts";

// PyTorch's exporter on torch.export leaves a bias of zeros out, or stores one for several layers: heads that were never trained.
const x = Tensor.float(
  "x",
  [3, 4],
  Array.from({ length: 12 }, (_, i) => Math.sin(i)),
);
const turned = Tensor.float(
  "head.weight",
  [5, 5],
  Array.from({ length: 25 }, (_, i) => i / 9),
);
const product = (b: GraphBuilder, h: Value, name: string) =>
  b.op("MatMul", [h, b.graph.addInitializer(turned)], name);
const gemm = (b: GraphBuilder, h: Value, ...bias: Value[]) =>
  b.op("Gemm", [h, b.weight("head.weight", [5, 5]), ...bias], "y", { transB: 1 });

/** A layer of five units before a head. @param shared - name of the zeros that are its bias */
function made(head: (b: GraphBuilder, h: Value, zeros: Value) => Value, shared = "fc1.bias"): Model {
  const b = new GraphBuilder(18);
  const zeros = b.graph.addInitializer(Tensor.float(shared, [5], [0, 0, 0, 0, 0]));
  const fc1 = b.op("Gemm", [b.input("x", ["batch", 4]), b.weight("fc1.weight", [5, 4]), zeros], "h", {
    transB: 1,
  });
  b.output(head(b, b.op("Tanh", [fc1], "t"), zeros));
  return builtModel(b);
}

const run = async (one: Model) => ((await runModel(encodeModel(one), { x })).y as Tensor).numbers();
const full = made((b, h) => gemm(b, h, b.weight("head.bias", [5])));

test("a head whose own bias has another name is refused: it may be another's", async () => {
  const adapter = await adapterOf(await addAdapters(full, { rank: 2, include: /fc1/, trainHead: true }));
  const model = made((b, h) => gemm(b, h, b.weight("offset", [5])));
  await expect(mergeAdapters(model, adapter)).rejects.toThrow(
    'replaces "head.bias", which the model does not have',
  );
});

test.each<[string, Model]>([
  ["no bias, Gemm", made((b, h) => gemm(b, h))],
  ["another layer's bias, Gemm", made(gemm)],
  ["a bias that another layer reads too", made(gemm, "head.bias")],
  ["no bias, MatMul", made((b, h) => product(b, h, "y"))],
  ["another layer's bias, Add", made((b, h, zeros) => b.op("Add", [zeros, product(b, h, "p")], "y"))],
])("a head that an adapter replaces gets its own bias: %s", async (_name, model) => {
  const adapter = await adapterOf(await addAdapters(full, { rank: 2, include: /fc1/, trainHead: true }));
  expect([...adapter.saved.keys()]).toEqual(["head.weight", "head.bias"]);
  // The adapter begins with the model as it is, so that the answers are those of the head alone.
  const expected = await run(full);
  const loaded = await loadAdapter(model, adapter);
  for (const one of [await mergeAdapters(model, adapter), loaded, await mergeAdapters(loaded)]) {
    const far = (await run(one)).map((value, i) => Math.abs(value - (expected[i] as number)));
    expect(Math.max(...far)).toBeLessThan(1e-6);
  }
});
