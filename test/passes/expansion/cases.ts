import type { Graph } from "../../../src/graph/graph.ts";
import type { Value } from "../../../src/graph/node.ts";
import { graphFromProto } from "../../../src/graph/proto.ts";
import { onnx } from "../../../src/onnx/schema.js";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { inferred } from "../../helpers/inferred.ts";
import { flag, type Makers, vector } from "../pass-case.ts";
import { body, DoubleBuilder, localFunction, loopInputs, withFunctions } from "./models.ts";

/** A Loop that runs a Tanh twice. */
function loop(): Graph {
  const b = new GraphBuilder();
  const x = b.input("x", [2]);
  const y = b.op("Loop", [b.int64("twice", 2), flag(b, "always", true), x], "y", {
    body: body((inner) => {
      const [, going] = loopInputs(inner);
      const h = inner.input("h", [2]);
      return [inner.op("Identity", [going], "on"), inner.op("Tanh", [h], "next")];
    }),
  });
  return b.output(y);
}

/** An If of two branches. */
function conditional(b: GraphBuilder, condition: Value, branches: readonly [string, string]): Graph {
  b.input("x", [2, 3]);
  const branch = (op: string) => body((inner) => [inner.op(op, [inner.outer("x")], `${op}`.toLowerCase())]);
  return b.output(
    b.op("If", [condition], "y", { then_branch: branch(branches[0]), else_branch: branch(branches[1]) }),
  );
}

/** Small graphs for the passes of src/passes/expansion. */
export const expansionCases = {
  // As PyTorch exports hidden[mask].view(batch, -1, width)[:, -1] of BART and T5.
  readLastSelected: () => {
    const b = new GraphBuilder(18);
    const x = b.input("x", [2, 3, 4]);
    const places = b.op("NonZero", [b.input("mask", [2, 3], "bool")], "places");
    const turned = b.op("Transpose", [places], "turned", { perm: [1, 0] });
    const rows = b.op(
      "Reshape",
      [b.op("GatherND", [x, turned], "rows"), b.int64("shape", [2, -1, 4])],
      "by batch",
    );
    return b.output(b.op("Gather", [rows, b.int64("last", -1)], "y", { axis: 1 }));
  },
  // As PyTorch exports masked_scatter, by which LLaVA puts the features of an image in the place of its tokens.
  placeByMask: () => {
    const b = new GraphBuilder(18);
    const [x, mask] = [b.input("x", [2, 3, 4]), b.input("mask", [2, 3, 1], "bool")];
    const places = b.op("Expand", [mask, b.int64("shape", [2, 3, 4])], "everywhere");
    const turned = b.op("Transpose", [b.op("NonZero", [places], "places")], "turned", { perm: [1, 0] });
    const flat = b.op("Reshape", [b.input("rows", [5, 4]), b.int64("flat", [-1])], "in a row");
    const zero = b.int64("zero", [0]);
    const count = b.op("Gather", [b.op("Shape", [turned], "size"), zero], "count");
    const first = b.op("Slice", [flat, zero, count, zero], "first");
    return inferred(b.output(b.op("ScatterND", [x, turned, first], "y")));
  },
  inlineFunctions: () => {
    const b = new DoubleBuilder(18, { local: 1 });
    const call = b.op("Block", [b.input("x", [2, 3], "double"), b.weight("w", [3, 2])], "y", {}, "local");
    const node = (opType: string, input: string[], output: string[]) =>
      new onnx.NodeProto({ opType, input, output });
    const block = localFunction("Block", {
      ...{ input: ["a", "b"], output: ["out"] },
      node: [node("MatMul", ["a", "b"], ["h"]), node("Tanh", ["h"], ["out"])],
    });
    return graphFromProto(withFunctions(b.model(call), block).proto);
  },
  liftBodyConstants: () => {
    const b = new GraphBuilder();
    b.input("x", [2]);
    const branch = (op: string) =>
      body((inner) => [inner.op(op, [inner.outer("x"), vector(inner, `${op}.weight`, [1, 2])], op)]);
    const branches = { then_branch: branch("Mul"), else_branch: branch("Add") };
    return b.output(b.op("If", [b.input("c", [], "bool")], "y", branches));
  },
  takeBranches: () => {
    const b = new GraphBuilder();
    const condition = b.op("Not", [flag(b, "never", false)], "c");
    return conditional(b, condition, ["Neg", "Abs"]);
  },
  unrollLoops: () => inferred(loop()),
  resolveSequences: () => {
    const b = new GraphBuilder();
    const s = b.op("SequenceConstruct", [b.input("a", [2]), b.input("b", [2])], "s");
    return b.output(b.op("Neg", [b.op("SequenceAt", [s, b.int64("one", 1)], "at")], "y"));
  },
  expandBodies: loop,
  raiseWithBranches: () => {
    const b = new GraphBuilder(12);
    return inferred(conditional(b, b.input("c", [], "bool"), ["Softmax", "Abs"]));
  },
  writeOutProducts: () => {
    const b = new GraphBuilder(18, { "com.microsoft": 1 });
    const fused = (opType: string, inputs: readonly Value[], name: string, attributes: object) =>
      b.op(opType, inputs, name, attributes as Record<string, string>, "com.microsoft");
    const x = b.input("x", ["N", 3, 4]);
    const h = fused("FusedMatMul", [x, b.weight("w", [6, 4])], "h", { transB: 1, alpha: 0.5 });
    const heads = b.op("Einsum", [h, b.weight("v", [6, 2, 5])], "product", { equation: "bti,ihk->bhtk" });
    const image = b.op("Add", [heads, b.weight("bias", [2, 1, 5])], "heads");
    const kernel = [image, b.weight("u", [2, 2, 1, 1])];
    const maps = fused("FusedConv", kernel, "maps", { activation: "Clip", activation_params: [-0.5, 0.5] });
    const rows = b.op("Flatten", [maps], "rows");
    const of = { activation: "LeakyRelu", activation_alpha: 0.25, transB: 1 };
    return b.output(fused("FusedGemm", [rows, b.weight("t", [2, 30])], "y", of));
  },
} satisfies Makers;
