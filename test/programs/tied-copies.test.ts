import { describe, expect, test } from "vitest";
import { type Copy, copied } from "../../src/analysis/copies.ts";
import { findParameters } from "../../src/analysis/parameters.ts";
import { shareCheck } from "../../src/analysis/share-options.ts";
import { checkGraph } from "../../src/graph/check.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { arrayDataset, crossEntropy, Trainer } from "../../src/index.ts";
import { Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { tieCopies } from "../../src/passes/cleanup/tie-copies.ts";
import { liftParameters } from "../../src/passes/expansion/expand-model.ts";
import { runGraphPass } from "../../src/passes/pass.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";

const [tokens, width] = [5, 4];
const table = randomFloats("table", tokens * width);
const transposed = Array.from(
  { length: tokens * width },
  (_, i) => table[(i % tokens) * width + Math.floor(i / tokens)] ?? 0,
);

/** An embedding whose transposed copy is the head's weight, as PyTorch's exporters fold it; `cls` repeated for 2 samples. */
function tied(head = "onnx::MatMul_13"): GraphBuilder {
  const b = new GraphBuilder(17);
  const e = b.graph.addInitializer(Tensor.float("tok.weight", [tokens, width], table));
  const rows = b.op("Gather", [e, b.input("x", [2, 3], "int64")], "rows");
  const once = randomFloats("cls", width);
  const cls = b.graph.addInitializer(Tensor.float("expand", [2, 1, width], [...once, ...once]));
  cls.metadata = new Map([["pkg.onnxscript.optimizer.folded_from", "['cls', 'val_1']"]]);
  const joined = b.op("Concat", [cls, rows], "joined", { axis: 1 });
  const w = b.graph.addInitializer(Tensor.float(head, [width, tokens], transposed));
  const scores = b.op("MatMul", [b.op("Tanh", [joined], "t"), w], "scores");
  b.output(b.op("ReduceMean", [scores], "y", { axes: [1], keepdims: 0 }));
  return b;
}

const parameters = (b: GraphBuilder) => findParameters(b.graph).parameters.map(({ value }) => value.name);

describe("copies that exporters write", () => {
  test("follow the parameter: one for both, and what the graph answers stays", async () => {
    const b = tied();
    const run = async () =>
      (
        await runModel(Model.fromProto(graphToProto(b.graph)).bytes, {
          x: Tensor.int64("x", [2, 3], [0, 1, 2, 3, 4, 0]),
        })
      ).y?.numbers();
    const before = await run();
    const copies = runGraphPass(tieCopies(), b.graph);
    checkGraph(b.graph);
    expect(copies.map(({ name, of }) => `${name} of ${of}`)).toEqual([
      "expand of cls",
      "onnx::MatMul_13 of tok.weight",
    ]);
    expect(parameters(b).sort()).toEqual(["cls", "tok.weight"]);
    expect(b.graph.value("cls")?.initializer?.dims).toEqual([1, 1, width]);
    expect(await run()).toEqual(before);
  });

  // As Mask2Former's queries: [queries, width] in the file, and [queries, samples, width] folded by the exporter; twice in OneFormer.
  test.each([true, false])(
    "are those of a table with fewer axes, or of one another: the table in the file %s",
    async (inFile) => {
      const b = new GraphBuilder(17);
      const queries = randomFloats("queries", 3 * width);
      const rows = (count: number) =>
        Array.from({ length: count }, (_, i) => queries.slice(i * width, (i + 1) * width)).flatMap((row) => [
          ...row,
          ...row,
        ]);
      const folded = (name: string, count: number) => {
        const value = b.graph.addInitializer(Tensor.float(name, [count, 2, width], rows(count)));
        value.metadata = new Map([["pkg.onnxscript.optimizer.folded_from", "['q.weight', 'unsqueeze_1']"]]);
        return value;
      };
      const x = b.input("x", [3, 2, width]);
      let y = b.op("Mul", [b.op("Add", [x, folded("repeat", 3)], "a"), folded("repeat_1", 3)], "m");
      const first = b.op("Slice", [y, b.int64("0", [0]), b.int64("2", [2]), b.int64("0", [0])], "first");
      y = b.op("Concat", [b.op("Add", [first, folded("repeat_2", 2)], "s"), y], "joined", { axis: 0 });
      if (inFile)
        y = b.op(
          "MatMul",
          [
            b.graph.addInitializer(Tensor.float("q.weight", [3, width], queries)),
            b.op("Reshape", [y, b.int64("flat", [width, -1])], "f"),
          ],
          "p",
        );
      b.output(b.op("ReduceMean", [y], "mean"));
      const run = async () =>
        (
          await runModel(Model.fromProto(graphToProto(b.graph)).bytes, {
            x: Tensor.float("x", [3, 2, width], randomFloats("x", 6 * width)),
          })
        ).mean?.numbers();
      const before = await run();
      const stored = new Map(b.graph.initializers.map((value) => [value.name, value.initializer as Tensor]));
      const copies = runGraphPass(tieCopies(), b.graph);
      checkGraph(b.graph);
      expect(copies.map(({ name, of }) => `${name} of ${of}`)).toEqual([
        "repeat of q.weight",
        "repeat_1 of q.weight",
        "repeat_2 of repeat_2/once",
      ]);
      for (const copy of copies)
        expect(copied(copy, b.graph.valueNamed(copy.of).initializer as Tensor).numbers()).toEqual(
          stored.get(copy.name)?.numbers(),
        );
      expect(await run()).toEqual(before);
    },
  );

  test("have the numbers of the parameter in their own layout", () => {
    const numbers = Tensor.float("p", [2, 3], [1, 2, 3, 4, 5, 6]);
    const copy = (dims: readonly number[], rows: number): Copy => ({
      ...{ name: "c", of: "p", dims, rows, made: undefined },
    });
    expect(copied(copy([3, 2], 2), numbers).numbers()).toEqual([1, 4, 2, 5, 3, 6]);
    expect(copied(copy([1, 6], 0), numbers).numbers()).toEqual([1, 2, 3, 4, 5, 6]);
    const row = Tensor.float("p", [1, 2, 1], [7, 8]);
    expect(copied(copy([2, 2, 2], 0), row).numbers()).toEqual([7, 7, 8, 8, 7, 7, 8, 8]);
  });

  test("two matrices of the source stay two, unless --tie says otherwise", () => {
    const apart = tied("head.weight");
    expect(runGraphPass(tieCopies(), apart.graph).map(({ name }) => name)).toEqual(["expand"]);
    const told = tied("head.weight");
    expect(runGraphPass(tieCopies({ tie: /^head/ }), told.graph).map(({ name }) => name)).toEqual([
      "expand",
      "head.weight",
    ]);
    const kept = tied();
    expect(runGraphPass(tieCopies({ untie: /^tok/ }), kept.graph).map(({ name }) => name)).toEqual([
      "expand",
    ]);
  });

  test.each([
    ["tie", /^head\.weight$/, "head.weight", ["cls", "tok.weight"]],
    ["untie", /^tok/, undefined, ["cls", "onnx::MatMul_13", "tok.weight"]],
    ["untie", /^expand$/, undefined, ["expand", "tok.weight"]],
  ])("--%s %s chooses a copy where no initializer is read twice", async (option, pattern, head, trained) => {
    const { graph } = tied(head);
    liftParameters(graph, { [option]: pattern }, undefined, shareCheck);
    expect(
      findParameters(graph)
        .parameters.map(({ value }) => value.name)
        .sort(),
    ).toEqual(trained);
    expect(() => liftParameters(tied(head).graph, { [option]: /none/ }, undefined, shareCheck)).toThrow(
      /matches no shared parameter; near it: /,
    );
  });

  test("are equal to it after training, in the file that had them", async () => {
    const model = Model.fromProto(graphToProto(tied().graph));
    const trainer = await Trainer.create(model, { objective: crossEntropy(), learningRate: 0.1 });
    const samples = Array.from({ length: 8 }, (_, i) => i);
    const x = BigInt64Array.from([...samples, ...samples, ...samples], (i) => BigInt(i % tokens));
    const data = arrayDataset(
      x,
      Int32Array.from(samples, (i) => i % tokens),
      [3],
    );
    for await (const _ of trainer.fit(data, { epochs: 3 })) {
      // Only what comes out counts.
    }
    const after = new Map(
      (trainer.export().proto.graph?.initializer ?? []).map((tensor) => [
        tensor.name,
        Tensor.fromProto(tensor),
      ]),
    );
    await trainer.release();
    const e = after.get("tok.weight")?.numbers() ?? [];
    expect(e).not.toEqual(Array.from(table));
    const head = Array.from(
      { length: tokens * width },
      (_, i) => e[(i % tokens) * width + Math.floor(i / tokens)],
    );
    expect(after.get("onnx::MatMul_13")?.numbers()).toEqual(head);
  });
});
