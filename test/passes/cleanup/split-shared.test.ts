import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { findParameters } from "../../../src/analysis/parameters.ts";
import { findShared } from "../../../src/analysis/shared-initializers.ts";
import { checkGraph } from "../../../src/graph/check.ts";
import type { Graph } from "../../../src/graph/graph.ts";
import type { Value } from "../../../src/graph/node.ts";
import { graphFromProto } from "../../../src/graph/proto.ts";
import { decodeModelProto } from "../../../src/onnx/codec.ts";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { splitShared } from "../../../src/passes/cleanup/split-shared.ts";
import { runGraphPass } from "../../../src/passes/pass.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { randomFloats } from "../../helpers/numbers.ts";
import { plain } from "../../helpers/plain-tensors.ts";
import { runModel } from "../../helpers/run-model.ts";

type Build = (b: GraphBuilder, x: Value) => Value;

function built(build: Build) {
  const b = new GraphBuilder();
  b.output(build(b, b.input("x", [2, 4, 3])));
  return b.graph;
}

const verdicts = (build: Build, options = {}) =>
  findShared(built(build), options).map(({ value, kind, reason }) => `${value.name} ${kind}: ${reason}`);

/** BatchNormalization as exporters write a fresh one: biases are means, scales are variances. */
const fresh: Build = (b, x) => {
  const [w, bias] = [b.weight("w", [4]), b.weight("b", [4])];
  const first = b.op("BatchNormalization", [x, w, bias, bias, w], "bn1");
  return b.op("BatchNormalization", [first, w, bias, bias, w], "bn2");
};

/** The same as the TorchScript exporter writes it: names made by Identity. */
const aliased: Build = (b, x) => {
  const bias = b.weight("bn1.bias", [4]);
  const alias = (name: string, of: Value = bias) => b.op("Identity", [of], name);
  const mean = alias("bn1.running_mean");
  const positive = (name: string) => b.graph.addInitializer(Tensor.float(name, [4], [1, 2, 3, 4]));
  const first = b.op("BatchNormalization", [x, positive("w1"), bias, mean, positive("v1")], "bn1");
  const nested = alias("bn2.bias", alias("bn2.running_mean"));
  const inputs = [first, positive("w2"), nested, b.graph.valueNamed("bn2.running_mean"), positive("v2")];
  return b.op("BatchNormalization", inputs, "bn2");
};

const conv = (b: GraphBuilder, x: Value, weight: string, bias: Value, output: string) =>
  b.op("Conv", [x, b.graph.value(weight) ?? b.weight(weight, [4, 4, 1]), bias], output);

describe("findShared", () => {
  test("vectors in different roles, or of several normalizations, are split", () => {
    expect(verdicts(fresh)).toEqual([
      "w split: read as scale and running variance",
      "b split: read as bias and running mean",
    ]);
    const scales: Build = (b, x) => {
      const w = b.weight("w", [3]);
      return b.op("LayerNormalization", [b.op("LayerNormalization", [x, w], "n1"), w], "n2");
    };
    expect(verdicts(scales)).toEqual(["w split: scale of 2 normalizations"]);
  });

  test("a bias of layers with different weights is split; of one layer used twice it is not", () => {
    const biased =
      (second: string): Build =>
      (b, x) => {
        const bias = b.weight("bias", [4]);
        return conv(b, conv(b, x, "w1", bias, "c1"), second, bias, "c2");
      };
    expect(verdicts(biased("w2"))).toEqual(["bias split: bias of 2 layers with different weights"]);
    expect(verdicts(biased("w1"))).toEqual([
      "bias tied: bias of 2 operators",
      "w1 tied: a matrix read by 2 operators",
    ]);
  });

  test("biases that Add nodes add belong to the product's weight, through its Transpose", () => {
    const linear =
      (second: string): Build =>
      (b, x) => {
        const bias = b.weight("bias", [3]);
        const layer = (input: Value, weight: string, name: string) => {
          const w = b.graph.value(weight) ?? b.weight(weight, [3, 3]);
          const product = b.op("MatMul", [input, b.op("Transpose", [w], `${name}.t`)], `${name}.m`);
          return b.op("Add", [product, bias], name);
        };
        return layer(layer(x, "w1", "l1"), second, "l2");
      };
    expect(verdicts(linear("w2"))).toEqual(["bias split: bias of 2 layers with different weights"]);
    expect(verdicts(linear("w1"))).toEqual([
      "bias tied: bias of 2 operators",
      "w1 tied: a matrix read by 2 operators",
    ]);
  });

  test("matrices are tied, whatever their roles", () => {
    const tied: Build = (b, x) => {
      const table = b.weight("table", [3, 3]);
      b.output(b.op("Gather", [table, b.int64("i", [0])], "row"));
      return b.op("MatMul", [x, b.op("Transpose", [table], "t")], "y");
    };
    expect(verdicts(tied)).toEqual(["table tied: a matrix read by 2 operators"]);
    expect(verdicts(tied, { untie: /^table$/ })).toEqual(["table split: named by --untie"]);
  });

  test("--tie keeps one; constants of arithmetic and shapes read beside do not count", () => {
    expect(verdicts(fresh, { tie: /^w$/ })).toEqual([
      "w tied: named by --tie",
      "b split: read as bias and running mean",
    ]);
    const plain: Build = (b, x) => {
      const constant = b.weight("val_1", [3]);
      const w = b.weight("w", [3, 3]);
      b.output(b.op("Shape", [w], "shape"));
      return b.op("MatMul", [b.op("Add", [b.op("Mul", [x, constant], "m"), constant], "a"), w], "y");
    };
    expect(verdicts(plain)).toEqual([]);
  });

  test("names made by Identity are told apart", () => {
    expect(verdicts(aliased)).toEqual(["bn1.bias split: a vector that the exporter gave 4 names"]);
    const scaled: Build = (b, x) => {
      const scale = b.weight("ls1.gamma", [3]);
      return b.op("Mul", [b.op("Mul", [x, scale], "m"), b.op("Identity", [scale], "ls2.gamma")], "y");
    };
    expect(verdicts(scaled)).toEqual(["ls1.gamma split: a vector that the exporter gave 2 names"]);
  });
});

/** The names of the copies, by the name of the initializer they came from. */
const split = (graph: Graph) =>
  Object.fromEntries(
    runGraphPass(splitShared(), graph).map(({ value, copies }) => [value.name, copies] as const),
  );

describe("splitShared", () => {
  test.each([
    ["fresh", fresh],
    ["aliased", aliased],
  ])("every reader has its own, the outputs are the same: %s", async (_, build) => {
    const graph = built(build);
    const feeds = { x: Tensor.float("x", [2, 4, 3], randomFloats("x", 24)) };
    const before = plain(await runModel(graph, feeds));
    split(graph);
    checkGraph(graph);
    const read = graph.nodes.flatMap(({ inputs }) => inputs.map((input) => input?.name));
    expect(new Set(read).size).toBe(10);
    expect(graph.nodes.map(({ opType }) => opType)).toEqual(["BatchNormalization", "BatchNormalization"]);
    expect(findShared(graph)).toEqual([]);
    expect(plain(await runModel(graph, feeds))).toEqual(before);
  });

  test("the first reader keeps the name, copies are numbered", () => {
    const graph = built(fresh);
    expect(split(graph)).toEqual({ w: ["w/2", "w/3", "w/4"], b: ["b/2", "b/3", "b/4"] });
    expect(graph.nodes.map(({ inputs }) => inputs.slice(1).map((input) => input?.name))).toEqual([
      ["w", "b", "b/2", "w/2"],
      ["w/3", "b/3", "b/4", "w/4"],
    ]);
  });

  test("Identity's names come back", () => {
    const graph = built(aliased);
    split(graph);
    const reads = graph.nodes.map(({ inputs }) => [inputs[2]?.name, inputs[3]?.name]);
    expect(reads).toEqual([
      ["bn1.bias", "bn1.running_mean"],
      ["bn2.bias", "bn2.running_mean"],
    ]);
  });

  test("a tied matrix is left alone, Identity included", () => {
    const graph = built((b, x) => {
      const w = b.weight("w", [3, 3]);
      return b.op("MatMul", [b.op("MatMul", [x, w], "h"), b.op("Identity", [w], "again")], "y");
    });
    expect(split(graph)).toEqual({ w: [] });
    expect(graph.nodes).toHaveLength(3);
  });
});

interface Fixtures {
  readonly shared: readonly { readonly file: string; readonly reference: string }[];
  readonly references: Readonly<Record<string, { readonly gradients: Readonly<Record<string, unknown>> }>>;
}
const folder = "test/fixtures/exports";
const index = JSON.parse(readFileSync(`${folder}/index.json`, "utf8")) as Fixtures;

test.each(index.shared)("$file: what PyTorch trains, under its names", ({ file, reference }) => {
  const graph = graphFromProto(decodeModelProto(readFileSync(`${folder}/${file}`)));
  split(graph);
  const { parameters, constants } = findParameters(graph);
  const expected = Object.keys(index.references[reference]?.gradients ?? {});
  expect(parameters.map(({ value }) => value.name).sort()).toEqual(expected.sort());
  expect(constants.filter(({ reason }) => reason.startsWith("running"))).toHaveLength(
    2 * graph.nodes.filter(({ op }) => op === "BatchNormalization").length,
  );
});
