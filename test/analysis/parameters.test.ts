import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { findParameters } from "../../src/analysis/parameters.ts";
import type { Attribute } from "../../src/graph/attribute.ts";
import type { Value } from "../../src/graph/node.ts";
import { graphFromProto } from "../../src/graph/proto.ts";
import { decodeModelProto } from "../../src/onnx/codec.ts";
import { onnx } from "../../src/onnx/schema.js";
import { Tensor } from "../../src/onnx/tensor.ts";
import { liftConstants } from "../../src/passes/cleanup/lift-constants.ts";
import { splitShared } from "../../src/passes/cleanup/split-shared.ts";
import { runGraphPass } from "../../src/passes/pass.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { body, loopInputs } from "../passes/expansion/models.ts";
import { verdict } from "./verdict.ts";

const add = (name: string, dims: readonly number[]) => (b: GraphBuilder, x: Value) =>
  b.op("Add", [x, b.weight(name, dims)], "y");

describe("by role", () => {
  test.each<[string, (b: GraphBuilder, x: Value) => Value]>([
    ['weight: weight of Gemm "y"', (b, x) => b.op("Gemm", [x, b.weight("w", [4, 3])], "y")],
    ['weight: weight of MatMul "y"', (b, x) => b.op("MatMul", [b.weight("w", [3, 2]), x], "y")],
    ['bias: bias of Gemm "y"', (b, x) => b.op("Gemm", [x, b.weight("v", [4, 3]), b.weight("w", [3])], "y")],
    ['weight: weight of Conv "y"', (b, x) => b.op("Conv", [x, b.weight("w", [4, 3, 1])], "y")],
    [
      'embedding: embedding of Gather "y"',
      (b) => b.op("Gather", [b.weight("w", [9, 3]), b.int64("i", [0])], "y"),
    ],
    ['slope: slope of PRelu "y"', (b, x) => b.op("PRelu", [x, b.weight("w", [1])], "y")],
    [
      'recurrent: recurrent of GRU "y"',
      (b, x) => b.op("GRU", [x, b.weight("v", [1, 6, 4]), b.weight("w", [1, 6, 2])], "y"),
    ],
    [
      'scale: scale of LayerNormalization "y"',
      (b, x) => b.op("LayerNormalization", [x, b.weight("w", [4])], "y"),
    ],
    [
      'not: data of Conv "y"'.replace("data", "input 0"),
      (b) => b.op("Conv", [b.weight("w", [1, 3, 4]), b.weight("v", [2, 3, 1])], "y"),
    ],
    ['not: running mean of BatchNormalization "y"', (b, x) => normalized(b, x, 3)],
    ['not: running variance of BatchNormalization "y"', (b, x) => normalized(b, x, 4)],
    ['bias: bias of BatchNormalization "y"', (b, x) => normalized(b, x, 2)],
    [
      'bias: bias of Add "y"',
      (b, x) => b.op("Add", [b.weight("w", [3]), b.op("MatMul", [x, b.weight("v", [4, 3])], "m")], "y"),
    ],
    [
      'not: embedding of Gather "y", but it is a list of numbers',
      (b) => b.op("Gather", [b.weight("w", [9]), b.int64("i", [0])], "y"),
    ],
    ["not: nothing reads its numbers", (b) => b.op("Shape", [b.weight("w", [9])], "y")],
  ])("%s", (expected, build) => {
    expect(verdict("w", build)).toBe(expected);
  });

  const normalized = (b: GraphBuilder, x: Value, index: number) => {
    const names = ["x", "s", "b", "m", "v"].map((name, i) => (i === index ? "w" : name));
    return b.op("BatchNormalization", [x, ...names.slice(1).map((name) => b.weight(name, [4]))], "y");
  };

  test("through operators that pass it on, and its shape read beside", () => {
    expect(
      verdict("w", (b, x) => {
        const w = b.weight("w", [3, 4]);
        b.output(b.op("Shape", [w], "shape"));
        return b.op("MatMul", [x, b.op("Identity", [b.op("Transpose", [w], "t")], "i")], "y");
      }),
    ).toBe('weight: weight of MatMul "y"');
  });

  test("a single number that is expanded to a matrix is no weight", () => {
    const state = (b: GraphBuilder, x: Value) => {
      const zero = b.graph.addInitializer(Tensor.float("w", [], [0]));
      const expanded = b.op("Expand", [zero, b.int64("shape", [4, 3])], "e");
      return b.op("MatMul", [x, expanded], "y");
    };
    expect(verdict("w", state)).toMatch(/^not: .*it is a single number$/);
  });

  test("in a Constant node, unless it is a literal of the source", () => {
    const literal = (name: string) => (b: GraphBuilder, x: Value) =>
      b.op(
        "MatMul",
        [x, b.op("Constant", [], name, { value: Tensor.float("", [4, 2], new Array(8).fill(1)) })],
        "y",
      );
    expect(verdict("linear_0.w_0", literal("linear_0.w_0"))).toMatch(/^weight/);
    expect(verdict("/Constant_1_output_0", literal("/Constant_1_output_0"))).toMatch(/exporter's constant$/);
  });

  test("what scikit-learn computes in front of a network is not trained, as it does not train it", () => {
    const scaled = (name: string) => (b: GraphBuilder, x: Value) => {
      const own = b.graph.addInitializer(Tensor.float(name, [4], [0.5, -2, 3, 0.1]));
      return b.op("Mul", [b.op("MatMul", [x, b.graph.addInitializer(square)], "h"), own], "y");
    };
    const square = Tensor.float(
      "transform_matrix",
      [4, 4],
      Array.from({ length: 16 }, (_, i) => i - 7.5),
    );
    expect(verdict("Mu_Mulcst1", scaled("Mu_Mulcst1"))).toMatch(/^not: .*exporter's constant$/);
    expect(verdict("transform_matrix", scaled("scale"))).toMatch(/^not: /);
    expect(verdict("coefficient", scaled("coefficient"))).toMatch(/: scale of/);
  });

  // PyTorch's, and paddle2onnx's in the InstanceNormalization of a GroupNorm; helper.unsqueeze.0 is a parameter in another shape.
  test("a normalization without trained scale has an exporter's ones", () => {
    const plain = (name: string) => (b: GraphBuilder, x: Value) =>
      b.op("LayerNormalization", [x, b.graph.addInitializer(Tensor.float(name, [4], [1, 1, 1, 1]))], "y");
    expect(verdict("val_3", plain("val_3"))).toMatch(/^not: .*exporter's constant$/);
    expect(verdict("helper.constant.7", plain("helper.constant.7"))).toMatch(/^not: .*exporter's constant$/);
    expect(verdict("helper.unsqueeze.0", plain("helper.unsqueeze.0"))).toMatch(/^scale: /);
  });

  test("integers are never parameters; what a body reads is not trained", () => {
    const b = new GraphBuilder();
    const w = b.weight("w", [4]);
    b.graph.addNode({
      opType: "If",
      inputs: [b.input("flag", [], "bool")],
      outputs: ["y"],
      attributes: new Map([["then_branch", { kind: "graph", value: new onnx.GraphProto() }]]),
      captures: [w, b.int64("i", [1])],
    });
    const { parameters, constants } = findParameters(b.graph);
    expect(parameters).toEqual([]);
    expect(constants.map(({ value, reason }) => `${value.name}: ${reason}`)).toEqual([
      'w: read inside a body of If "y"',
    ]);
  });
});

describe("a weight that is turned or computed outside of the body that reads it", () => {
  // PyTorch writes so a 3-D Linear in a branch (do_constant_folding=False), or one with weight_norm.
  const turned = (b: GraphBuilder) => b.op("Transpose", [b.weight("w", [3, 4])], "wt");
  const scaled = (b: GraphBuilder) =>
    b.op("Mul", [b.op("Tanh", [b.weight("w", [4, 3])], "t"), b.weight("g", [1])], "s");
  const product = (data: string, weight: string) =>
    body((inner) => [inner.op("MatMul", [inner.outer(data), inner.outer(weight)], "product")]);
  const branch =
    (of: (b: GraphBuilder) => Value) =>
    (b: GraphBuilder, { name }: Value) => {
      const then = product(name, of(b).name);
      return b.op("If", [b.input("flag", [], "bool")], "y", { then_branch: then, else_branch: then });
    };

  test.each<[string, string, (b: GraphBuilder, x: Value) => Value]>([
    ["turned, then captured", 'weight: weight of MatMul "product"', branch(turned)],
    ["computed, then captured", 'weight: part of what is weight of MatMul "product"', branch(scaled)],
    [
      "turned, then carried unchanged",
      'weight: weight of MatMul "product"',
      (b, x) => {
        const trips = b.input("trips", [], "int64");
        const square = b.op("Transpose", [b.weight("w", [4, 4])], "wt");
        const loop = body((inner) => {
          const [, going] = loopInputs(inner);
          const [h, w] = [inner.input("h", [2, 4]), inner.input("same", [4, 4])];
          return [going, inner.op("MatMul", [h, w], "product"), w];
        });
        return b.op("Loop", [trips, null, x, square], "y", { body: loop });
      },
    ],
  ])("%s", (_, expected, build) => expect(verdict("w", build)).toBe(expected));

  test("carried unchanged through twenty Loops in one another, each of which is looked into once", () => {
    const nested = (depth: number): Attribute =>
      body((inner) => {
        const [, going] = loopInputs(inner);
        const [h, w] = [inner.input("h", [2, 4]), inner.input("same", [4, 4])];
        const [next] =
          depth === 0
            ? [inner.op("MatMul", [h, w], "product")]
            : inner.many("Loop", [inner.int64("n", [1]), null, h, w], ["next", "still"], {
                body: nested(depth - 1),
              });
        return [going, next as Value, w];
      });
    const build = (b: GraphBuilder, x: Value) =>
      b.op("Loop", [b.input("trips", [], "int64"), null, x, b.weight("w", [4, 4])], "y", {
        body: nested(20),
      });
    const before = process.cpuUsage().user;
    expect(verdict("w", build)).toBe('weight: weight of MatMul "product"');
    // Looked into twice at each level, they take more than a minute.
    expect(process.cpuUsage().user - before).toBeLessThan(10e6);
  });
});

describe("operands of plain arithmetic, by name and rank", () => {
  test.each([
    ...[
      "encoder.pos_embed",
      "cls_token",
      "blocks.0.ls1.gamma",
      "norm.weight",
      "model/scale/ReadVariableOp:0",
    ],
    ...["features.1.layer_scale", "position_embeddings", "norm/beta/Read/ReadVariableOp:0", "affine.alpha"],
  ])("%s is trained", (name) => {
    expect(verdict(name, add(name, [1, 4]))).toBe('operand: operand of Add "y", named like a parameter');
  });

  test.each([
    ["attn.mask", "its name is that of a mask, grid or statistic"],
    ["head.anchors", "its name is that of a mask, grid or statistic"],
    ["pos_encoder.pe", "its name is that of a mask, grid or statistic"],
    ["bn.running_mean", "its name is that of a mask, grid or statistic"],
    ["normalize.mean", "its name is that of a mask, grid or statistic"],
    ["/attn/Constant_3_output_0", "it is an exporter's constant"],
    ["onnx::Add_953", "it scales or shifts an input of the model"],
    ["val_12", "it scales or shifts an input of the model"],
    ["const_fold_opt__31", "it scales or shifts an input of the model"],
    ["lifted_tensor_0", "it is an exporter's constant"],
  ])("%s is not: %s", (name, reason) => {
    expect(verdict(name, add(name, [1, 4]))).toBe(`not: operand of Add "y", but ${reason}`);
  });

  test("the bias of a layer with one unit is, and so is a layer scale", () => {
    expect(verdict("net.density.bias", add("net.density.bias", [1]))).toMatch(/^operand/);
    expect(verdict("blocks.0.ls1", add("blocks.0.ls1", [4]))).toMatch(/^operand/);
  });

  test("one of any other name is, by its place alone", () => {
    expect(verdict("theta", add("theta", [1, 4]))).toBe('operand: operand of Add "y", by its place alone');
  });

  test.each([[[]], [[1]], [[1, 1]]])("a single number of shape %j is not", (dims) => {
    expect(verdict("scale", add("scale", dims))).toMatch(/but it is a single number$/);
  });

  test.each([[Number.NEGATIVE_INFINITY], [-3.4e38], [-1e4]])(
    "a mask with %d is not, whatever its name",
    (low) => {
      const masked = (b: GraphBuilder, x: Value) =>
        b.op("Add", [x, b.graph.addInitializer(Tensor.float("attn.bias", [1, 4], [0, low, 0, 0]))], "y");
      expect(verdict("attn.bias", masked)).toMatch(/a mask$/);
    },
  );
});

describe("--trainable and --freeze", () => {
  const graph = () => {
    const b = new GraphBuilder();
    const x = b.op("Add", [b.input("x", [2, 4]), b.weight("table", [4])], "a");
    const h = b.op("Gemm", [x, b.weight("body.w", [4, 4])], "h");
    b.output(b.op("Gemm", [h, b.weight("head.w", [4, 4]), b.weight("head.b", [4])], "y"));
    return b.graph;
  };
  const names = (options: Parameters<typeof findParameters>[1]) =>
    findParameters(graph(), options).parameters.map(({ value }) => value.name);

  test("decide", () => {
    expect(names({})).toEqual(["table", "body.w", "head.w", "head.b"]);
    expect(names({ freeze: /^head|table/ })).toEqual(["body.w"]);
    expect(names({ trainable: /^head/ })).toEqual(["head.w", "head.b"]);
    expect(names({ trainable: /^table|^head/, freeze: /b$/ })).toEqual(["table", "head.w"]);
  });

  // Keras writes channels last: the result of a convolution is transposed and cast before its bias is added.
  test("a layer's name is that of its bias too, whatever lies between its product and the Add", () => {
    const keras = () => {
      const b = new GraphBuilder();
      const product = b.op("Conv", [b.input("x", [2, 3, 5]), b.weight("kernel", [4, 3, 1])], "conv");
      const turned = b.op("Transpose", [product], "turned", { perm: [0, 2, 1] });
      const cast = b.op("Cast", [turned], "cast", { to: 1 });
      b.output(b.op("Add", [cast, b.weight("shift", [4])], "y"));
      return b.graph;
    };
    const trained = (freeze: RegExp) =>
      findParameters(keras(), { freeze }).parameters.map(({ value }) => value.name);
    expect(trained(/^conv$/)).toEqual([]);
    expect(trained(/^kernel$/)).toEqual(["shift"]);
  });

  test("are the reason given", () => {
    const { parameters, constants } = findParameters(graph(), { trainable: /^table|^head/, freeze: /b$/ });
    expect(
      Object.fromEntries([...parameters, ...constants].map(({ value, reason }) => [value.name, reason])),
    ).toEqual({
      table: "named by --trainable",
      "head.w": "named by --trainable",
      "head.b": "frozen by --freeze",
      "body.w": "not named by --trainable",
    });
  });
});

interface ExportedModel {
  readonly file: string;
  readonly parameters: readonly { readonly name: string }[];
}
const folder = "test/fixtures/exports";
const index = JSON.parse(readFileSync(`${folder}/index.json`, "utf8")) as {
  models: readonly ExportedModel[];
};

test.each(index.models)("$file: what PyTorch trains, no more and no less", ({ file, parameters }) => {
  const graph = graphFromProto(decodeModelProto(readFileSync(`${folder}/${file}`)));
  runGraphPass(liftConstants(), graph);
  runGraphPass(splitShared(), graph);
  const found = findParameters(graph).parameters.map(({ value }) => value.name);
  expect(found.sort()).toEqual(parameters.map(({ name }) => name).sort());
});
