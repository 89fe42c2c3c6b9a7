import { Tensor } from "../../../src/onnx/tensor.ts";
import { foldValues } from "../../../src/passes/cleanup/fold-constants.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { inferred } from "../../helpers/inferred.ts";
import { flag, type Makers, vector } from "../pass-case.ts";

/** Small graphs for the passes of src/passes/cleanup. */
export const cleanupCases = {
  liftConstants: () => {
    const b = new GraphBuilder();
    const w = b.op("Constant", [], "w", { value: Tensor.float("", [2], [1, 2]) });
    return b.output(b.op("Mul", [b.input("x", [2]), w], "y"));
  },
  foldValues: () => {
    const b = new GraphBuilder();
    const condition = b.op("Not", [flag(b, "never", false)], "c");
    const graph = b.output(
      b.op("Where", [condition, b.input("x", [2]), b.op("Neg", [b.graph.valueNamed("x")], "n")], "y"),
    );
    return { graph, pass: foldValues({ values: [condition] }) };
  },
  foldConstants: () => {
    const b = new GraphBuilder();
    const x = b.input("x", [4, 2, 3]);
    const rows = b.op("Gather", [b.op("Shape", [x], "shape"), b.int64("first", [0])], "rows");
    return inferred(
      b.output(b.op("Reshape", [x, b.op("Concat", [rows, b.int64("rest", [-1])], "to", { axis: 0 })], "y")),
    );
  },
  tieCopies: () => {
    const b = new GraphBuilder();
    const table = b.graph.addInitializer(
      Tensor.float("table.weight", [3, 2], [0.1, -0.2, 0.3, 0.4, -0.5, 0.6]),
    );
    const copy = b.graph.addInitializer(
      Tensor.float("onnx::MatMul_7", [2, 3], [0.1, 0.3, -0.5, -0.2, 0.4, 0.6]),
    );
    const h = b.op("Gather", [table, b.input("words", [4], "int64")], "h");
    return b.output(b.op("MatMul", [h, copy], "y"));
  },
  computeOnce: () => {
    const b = new GraphBuilder();
    const [x, dy] = [b.input("x", [3]), b.input("dy", [3])];
    const sum = b.op("Add", [b.op("Mul", [dy, x], "a"), b.op("Mul", [dy, x], "b")], "dx");
    const halves = ["u", "v"].map((name) => b.op("Mul", [sum, vector(b, `half.${name}`, [0.5])], name));
    const draws = ["r", "s"].map((name) => b.op("RandomUniformLike", [x], name));
    const exps = ["e", "f"].map((name) => b.op("LeakyRelu", [sum], name, { alpha: 0.1 }));
    const other = b.op("LeakyRelu", [sum], "g", { alpha: 0.2 });
    for (const value of [...halves, ...draws, ...exps, other])
      b.output(b.op("Neg", [value], `-${value.name}`));
    // What is returned serves others, and stays beside an equal one.
    b.output(b.op("Exp", [sum], "p"), b.op("Exp", [sum], "q"));
    return b.output(b.op("Abs", [b.op("Exp", [sum], "again")], "-again"));
  },
  splitShared: () => {
    const b = new GraphBuilder();
    const [ones, zeros] = [vector(b, "bn.weight", [1, 1]), vector(b, "bn.bias", [0, 0])];
    return b.output(b.op("BatchNormalization", [b.input("x", [4, 2]), ones, zeros, zeros, ones], "y"));
  },
} satisfies Makers;
