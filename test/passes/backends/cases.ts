import type { Value } from "../../../src/graph/node.ts";
import { blockConvolutions } from "../../../src/passes/backends/block-convolutions.ts";
import { onCpu } from "../../../src/passes/backends/off-device.ts";
import { readTransposed } from "../../../src/passes/backends/read-transposed.ts";
import { writeOutMissing } from "../../../src/passes/backends/write-out-missing.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { inferred } from "../../helpers/inferred.ts";
import { type Makers, vector } from "../pass-case.ts";

/** Small graphs for the passes of src/passes/backends. */
export const backendsCases = {
  halfInFloat: () => {
    const b = new GraphBuilder();
    const [x, w] = [b.input("x", [2, 3], "float16"), b.input("w", [3, 2], "float16")];
    const p = b.op("MatMul", [x, b.op("Transpose", [b.op("Transpose", [w], "t")], "u")], "p");
    return inferred(b.output(b.op("Relu", [p], "y")));
  },
  blockConvolutions: async () => {
    const b = new GraphBuilder();
    const y = b.op("Conv", [b.input("x", [4, 8, 8, 8]), b.input("w", [8, 8, 3, 3])], "y", {
      pads: [1, 1, 1, 1],
    });
    return { graph: await inferred(b.output(y)), pass: blockConvolutions({ block: 8 }) };
  },
  refuseMiscomputed: () => {
    const b = new GraphBuilder();
    return inferred(
      b.output(b.op("Einsum", [b.input("x", [2, 3]), b.input("w", [3, 4])], "y", { equation: "ij,jk->ik" })),
    );
  },
  writeOutMissing: async () => {
    const b = new GraphBuilder();
    const h = b.op("Celu", [b.input("x", [2, 3])], "h");
    const graph = await inferred(b.output(b.op("Softsign", [h], "y")));
    return { graph, pass: writeOutMissing({ missing: { Celu: onCpu, Softsign: onCpu } }) };
  },
  narrowIntegers: () => {
    const b = new GraphBuilder();
    const [ids, mask] = [b.input("ids", [2, 4], "int64"), b.input("mask", [2, 4], "int64")];
    const places = b.op("Mul", [b.op("CumSum", [mask, b.int64("axis", 1)], "sum"), mask], "places");
    const kept = b.op("Less", [ids, b.int64("words", 9)], "kept");
    const near = b.op("ArgMax", [b.op("Cast", [places], "float", { to: 1 })], "near", { axis: 1 });
    b.output(b.op("Add", [near, b.int64("one", 1)], "next"));
    return inferred(b.output(b.op("Cast", [kept], "y", { to: 7 })));
  },
  integerKernels: () => {
    const b = new GraphBuilder();
    const cut = [b.int64("start", [1]), b.int64("end", [3]), b.int64("axis", [1])];
    const ids = b.op("Slice", [b.input("ids", [2, 4], "int32"), ...cut], "cut");
    b.output(b.op("Abs", [ids], "size"));
    return inferred(b.output(b.op("Transpose", [b.input("mask", [2, 4], "bool")], "y")));
  },
  lowerOpset: () => {
    const b = new GraphBuilder(22);
    return inferred(b.output(b.op("GlobalMaxPool", [b.input("x", [1, 2, 4, 4])], "y")));
  },
  fillGroups: () => {
    const b = new GraphBuilder();
    const h = b.op("Conv", [b.input("x", [1, 2, 3]), b.input("w", [10, 1, 2])], "h", { group: 2 });
    const more = [b.input("v", [10, 1, 2]), vector(b, "b", [1, 2, 3, 4, 5])];
    return inferred(b.output(b.op("ConvTranspose", [h, ...more], "y", { group: 5 })));
  },
  sliceThenTurn: () => {
    const b = new GraphBuilder();
    const numbers = { starts: [-2, 0], ends: [-9, 2], axes: [1, 0], steps: [-2, 1] };
    const of = Object.entries(numbers).map(([name, values]) => b.int64(name, values));
    return inferred(b.output(b.op("Slice", [b.input("x", [3, 5]), ...of], "y")));
  },
  powersAlike: () => {
    const b = new GraphBuilder();
    const [x, row, one] = [b.input("x", [2, 4]), b.input("row", [2, 1]), b.input("one", [1, 1])];
    return inferred(b.output(b.op("Pow", [b.op("Pow", [x, row], "p"), one], "y")));
  },
  fillChannels: () => {
    const b = new GraphBuilder();
    return inferred(b.output(b.op("Conv", [b.input("x", [1, 6, 5, 5]), b.input("w", [4, 6, 3, 3])], "y")));
  },
  deviationApart: () => {
    const b = new GraphBuilder(18, { "com.microsoft": 1 });
    const [y, d] = b.many(
      "SimplifiedLayerNormalization",
      [b.input("x", [2, 4]), vector(b, "w", [1, 2, 3, 4])],
      ["y", "d"],
      { axis: -1 },
    );
    return inferred(b.output(y as Value, d as Value));
  },
  readTransposed: async () => {
    const b = new GraphBuilder();
    const w = b.weight("w", [3, 4]);
    const p = b.op("MatMul", [b.input("x", [5, 2, 4]), b.op("Transpose", [w], "t")], "p");
    const rows = b.op("Reshape", [p, b.int64("as rows", [10, 3])], "rows");
    const back = b.op("Transpose", [b.op("Transpose", [w], "u")], "v", { perm: [1, 0] });
    const graph = await inferred(b.output(b.op("Gemm", [rows, back], "y")));
    return { graph, pass: readTransposed({ least: 48 }) };
  },
  joinSplits: () => {
    const b = new GraphBuilder();
    const x = b.input("x", [2, 6]);
    const [a, c] = b.many("Split", [x, b.int64("halves", [4, 2])], ["a", "c"], { axis: 1 });
    const parts = b.many("Split", [a as Value, b.int64("quarters", [1, 3])], ["d", "e"], { axis: -1 });
    const rows = b.many("Split", [c as Value, b.int64("rows", [1, 1])], ["f", "g"], { axis: 0 });
    const y = [...parts, ...rows].map((part, i) => b.op("Neg", [part as Value], `y${i}`));
    return inferred(b.output(...y));
  },
  openQuickly: () => {
    const b = new GraphBuilder();
    const x = b.input("x", [2]);
    const [m, v] = [b.input("m", [2]), b.input("v", [2])];
    const loss = b.op("Exp", [b.op("Neg", [x], "h")], "loss");
    const other = b.op("Tanh", [loss], "other");
    const [kept, gradient] = [b.op("Abs", [m], "kept"), b.op("Sin", [loss], "gradient")];
    const next = b.op("Add", [kept, gradient], "m.next");
    b.output(other);
    b.output(next);
    return b.output(b.op("Mul", [b.op("Abs", [v], "v.kept"), gradient], "v.next"));
  },
} satisfies Makers;
