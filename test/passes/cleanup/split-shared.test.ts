import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { findParameters } from "../../../src/analysis/parameters.ts";
import { findShared } from "../../../src/analysis/shared-initializers.ts";
import { checkGraph } from "../../../src/graph/check.ts";
import type { Graph } from "../../../src/graph/graph.ts";
import { graphOf } from "../../../src/graph/model-graph.ts";
import type { Node, Value } from "../../../src/graph/node.ts";
import { graphFromProto } from "../../../src/graph/proto.ts";
import { meanSquaredError } from "../../../src/losses/public.ts";
import { decodeModelProto } from "../../../src/onnx/codec.ts";
import { Tensor } from "../../../src/onnx/tensor.ts";
import { splitShared } from "../../../src/passes/cleanup/split-shared.ts";
import { runGraphPass } from "../../../src/passes/pass.ts";
import { differentiate } from "../../../src/programs/differentiate.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { builtModel, GraphBuilder } from "../../helpers/build-graph.ts";
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
    const linear = (second: string, onPositions = false): Build => {
      return (b, x) => {
        const bias = b.weight("bias", [3]);
        const layer = (input: Value, weight: string, name: string) => {
          const w = b.graph.value(weight) ?? b.weight(weight, [3, 3]);
          const product = b.op("MatMul", [input, b.op("Transpose", [w], `${name}.t`)], `${name}.m`);
          return b.op("Add", [product, bias], name);
        };
        const first = layer(x, "w1", "l1");
        if (!onPositions) return layer(first, second, "l2");
        const keys = layer(b.weight("positions", [5, 3]), second, "l2");
        return b.op("MatMul", [first, b.op("Transpose", [keys], "keys")], "scores");
      };
    };
    expect(verdicts(linear("w2"))).toEqual(["bias split: bias of 2 layers with different weights"]);
    // DeBERTa calls its query and key layers on tokens and on positions, which the file stores.
    for (const onPositions of [false, true]) {
      expect(verdicts(linear("w1", onPositions))).toEqual([
        "bias tied: bias of 2 operators",
        "w1 tied: a matrix read by 2 operators",
      ]);
    }
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

/** A node with the name that TorchScript writes, or with the modules that dynamo notes. */
function placed(b: GraphBuilder, output: string, name: string, scopes?: string): Value {
  const node = b.graph.valueNamed(output).producer as Node;
  const noted = new Map([["pkg.torch.onnx.name_scopes", `['', '${scopes}', 'op']`]]);
  Object.assign(node, { name, ...(scopes && { metadata: noted }) });
  return b.graph.valueNamed(output);
}

describe("a module that is called several times has one parameter of each kind", () => {
  /** conv, then norm, each called twice. */
  const twice =
    (name: (module: string, call: number) => readonly [name: string, scopes?: string]): Build =>
    (b, x) => {
      const [w, bias] = [b.weight("head.weight", [4, 4, 1]), b.weight("head.bias", [4])];
      const [scale, shift] = [b.weight("norm.weight", [4]), b.weight("norm.bias", [4])];
      const [mean, variance] = [b.weight("norm.running_mean", [4]), b.weight("norm.running_var", [4])];
      let value = x;
      for (const call of [0, 1]) {
        b.op("Conv", [value, w, bias], `c${call}`);
        value = placed(b, `c${call}`, ...name("head", call));
        b.op("BatchNormalization", [value, scale, shift, mean, variance], `n${call}`);
        value = placed(b, `n${call}`, ...name("norm", call));
      }
      return value;
    };
  const tied = [
    "head.weight tied: a matrix read by 2 operators",
    "head.bias tied: bias of 2 operators",
    "norm.weight tied: scale of 2 operators",
    "norm.bias tied: bias of 2 operators",
    "norm.running_mean split: running mean of 2 normalizations",
    "norm.running_var split: running variance of 2 normalizations",
  ];

  test("TorchScript numbers its calls, dynamo notes its name", () => {
    expect(verdicts(twice((module, call) => [`/${module}${call > 0 ? "_1" : ""}/Op`]))).toEqual(tied);
    expect(verdicts(twice((module, call) => [`node_${module}_${call}`, module]))).toEqual(tied);
  });

  test("other modules have their own", () => {
    const apart = [
      "head.weight tied: a matrix read by 2 operators",
      "head.bias split: bias in 2 modules",
      "norm.weight split: scale of 2 normalizations",
      "norm.bias split: bias of 2 normalizations",
      ...tied.slice(4),
    ];
    expect(verdicts(twice((module, call) => [`op_${module}_${call}`, `blocks.${call}.${module}`]))).toEqual(
      apart,
    );
  });

  test("names that an exporter merged, each of a module that is called twice", () => {
    const graph = built((b, x) => {
      const scale = b.weight("a.weight", [3]);
      const alias = b.op("Identity", [scale], "b.weight");
      let value = x;
      for (const [i, module] of ["a", "a_1", "b", "b_1"].entries()) {
        b.op("LayerNormalization", [value, i < 2 ? scale : alias], `y${i}`);
        value = placed(b, `y${i}`, `/${module}/LayerNormalization`);
      }
      return value;
    });
    expect(split(graph)).toEqual({ "a.weight": ["b.weight"] });
    expect(graph.nodes.map(({ inputs }) => inputs[1]?.name)).toEqual([
      ...["a.weight", "a.weight", "b.weight", "b.weight"],
    ]);
  });

  test("its gradient is the sum over the calls", async () => {
    const b = new GraphBuilder();
    const [x, w, bias] = [b.input("x", [2, 3]), b.weight("head.weight", [3, 4]), b.weight("head.bias", [4])];
    b.op("Gemm", [x, w, bias], "y0");
    b.op("Gemm", [b.op("Relu", [x], "r"), w, bias], "y1");
    const all = b.op("Concat", [placed(b, "y0", "/head/Gemm"), placed(b, "y1", "/head_1/Gemm")], "y", {
      axis: 0,
    });
    b.output(b.op("ReduceMean", [all], "loss", { keepdims: 0 }));
    const { model } = await differentiate(builtModel(b), { loss: "loss" }, nodeProbe);
    const results = await runModel(graphOf(model), { x: Tensor.float("x", [2, 3], randomFloats("x", 6)) });
    // The loss is a mean over 4 rows of 4 numbers; each of the 4 rows adds each bias once.
    expect(results["head.bias_grad"]?.numbers()).toEqual([0.25, 0.25, 0.25, 0.25]);
    expect(Object.keys(results)).toEqual(["loss", "head.weight_grad", "head.bias_grad"]);
  });
});

describe("matrices of layers that were initialized alike", () => {
  /** Copies of one layer, as nn.TransformerEncoder makes them, with one normalization. */
  const cloned =
    (scale: readonly number[], weight = randomFloats("w", 9)): Build =>
    (b, x) => {
      const w = b.graph.addInitializer(Tensor.float("layers.0.weight", [3, 3], weight));
      const ones = b.graph.addInitializer(Tensor.float("norm.weight", [3], scale));
      b.op("MatMul", [b.op("LayerNormalization", [x, ones], "n"), w], "y0");
      b.op("MatMul", [placed(b, "y0", "/layers.0/MatMul"), b.op("Identity", [w], "layers.1.weight")], "y1");
      return placed(b, "y1", "/layers.1/MatMul");
    };

  test("belong to each layer of an untrained model, and are tied in a trained one", () => {
    const apart = ["layers.0.weight split: a matrix of 2 layers, which were initialized alike"];
    expect(verdicts(cloned([1, 1, 1]))).toEqual(apart);
    expect(verdicts(cloned([1, 1.5, 1]))).toEqual(["layers.0.weight tied: a matrix read by 2 operators"]);
    expect(verdicts(cloned([1, 1.5, 1], new Float32Array(9)))).toEqual(apart);
    expect(verdicts(cloned([1, 1, 1]), { tie: /layers/ })).toEqual(["layers.0.weight tied: named by --tie"]);
    expect(split(built(cloned([1, 1, 1])))).toEqual({ "layers.0.weight": ["layers.1.weight"] });
  });

  test("a message names them", async () => {
    const said = async (scale: readonly number[]) => {
      const messages: string[] = [];
      const b = new GraphBuilder();
      b.output(cloned(scale)(b, b.input("x", [4, 3])));
      const options = { objective: meanSquaredError(), onMessage: (text: string) => messages.push(text) };
      await differentiate(builtModel(b), options, nodeProbe);
      return messages;
    };
    expect(await said([1, 1, 1])).toEqual([
      "equal in several layers of an untrained model, so that each layer gets its own: layers.0.weight; --tie keeps one for all",
    ]);
    expect(await said([1, 1.5, 1])).toEqual([
      "one weight of several layers: layers.0.weight; --untie gives each layer its own",
    ]);
  });
});

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
