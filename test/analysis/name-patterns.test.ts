import { describe, expect, test } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { sourceNameOf } from "../../src/analysis/known-names.ts";
import { checkMatches } from "../../src/analysis/name-patterns.ts";
import { findParameters, type ParameterOptions } from "../../src/analysis/parameters.ts";
import { Readings } from "../../src/analysis/readings.ts";
import { findSites } from "../../src/analysis/sites.ts";
import { Graph } from "../../src/graph/graph.ts";
import type { Value } from "../../src/graph/node.ts";
import { checkChoices, chooses, type PenaltyPlan } from "../../src/penalties/plan.ts";
import { som } from "../../src/penalties/som.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

interface Layer {
  readonly node: string;
  readonly weight: string;
  readonly bias: string;
  readonly metadata?: ReadonlyMap<string, string>;
  /** What the exporter notes of the weight. */
  readonly folded?: string;
}

/** Two linear layers as MatMul and Add, with the names that an exporter gives them. */
function network(layers: readonly Layer[]): Graph {
  const b = new GraphBuilder();
  let x: Value = b.input("x", [4, 6]);
  for (const { node, weight, bias, metadata, folded } of layers) {
    const w = b.weight(weight, [6, 6]);
    if (folded !== undefined) w.metadata = new Map([["pkg.onnxscript.optimizer.folded_from", folded]]);
    const more = metadata ? { metadata } : {};
    const product = `${weight}.product`;
    b.graph.addNode({ opType: "MatMul", name: node, inputs: [x, w], outputs: [product], ...more });
    const added = `${weight}.sum`;
    const inputs = [b.graph.valueNamed(product), b.weight(bias, [6])];
    b.graph.addNode({ opType: "Add", name: `${node}.add`, inputs, outputs: [added], ...more });
    x = b.graph.valueNamed(added);
  }
  return b.output(x);
}

const scopes = (list: string) => new Map([["pkg.torch.onnx.name_scopes", list]]);

const networks: Readonly<Record<string, Graph>> = {
  dynamo: network([
    {
      ...{ node: "node_MatMul_3", weight: "val_13", bias: "blocks.0.fc.bias" },
      ...{ folded: "['blocks.0.fc.weight']", metadata: scopes("['', 'blocks', 'blocks.0.fc', 'linear']") },
    },
    {
      ...{ node: "node_MatMul_5", weight: "val_15", bias: "logits.bias" },
      ...{ folded: "['val_14', 'logits.weight']", metadata: scopes("['', 'logits', 'linear_1']") },
    },
  ]),
  TorchScript: network([
    { node: "/blocks/blocks.0/fc/MatMul", weight: "onnx::MatMul_13", bias: "blocks.0.fc.bias" },
    { node: "/logits/MatMul", weight: "onnx::MatMul_15", bias: "logits.bias" },
  ]),
  tf2onnx: network([
    { node: "model/blocks.0.fc/MatMul", weight: "const_fold_opt__7", bias: "const_fold_opt__8" },
    {
      node: "model/logits/MatMul",
      weight: "model/logits/MatMul/ReadVariableOp:0",
      bias: "const_fold_opt__9",
    },
  ]),
};

const frozen = (graph: Graph, options: ParameterOptions) => {
  const { parameters } = findParameters(graph, options);
  return graph.initializers.length - parameters.length;
};

describe.each(Object.entries(networks))("names of the source in an export by %s", (_, graph) => {
  test.each([/^logits$/, /^logits\./, /blocks/, /^blocks\.0\.fc\.(weight|bias)$/])(
    "--freeze %s",
    (freeze) => {
      expect(frozen(graph, { freeze })).toBe(2);
    },
  );

  test("--include and --exclude of penalties", async () => {
    await inferShapes(graph, nodeProbe, {});
    const { sites } = findSites(graph);
    const chosen = (plan: Partial<PenaltyPlan>) =>
      sites.map((site) => chooses({ penalty: som(), ...plan }, site));
    expect(chosen({ exclude: /^logits$/ })).toEqual([true, false]);
    expect(chosen({ include: /blocks\.0\.fc\.weight$/ })).toEqual([true, false]);
    // It remembers where it stopped; two layers are asked all the same.
    expect(chosen({ exclude: /fc|logits/g })).toEqual([false, false]);
  });
});

test("what the source calls a constant that has only the exporter's name", () => {
  const names = (graph = new Graph("", new Map())) =>
    graph.initializers.map((value) => sourceNameOf(value, new Readings(graph)));
  expect(names(networks.dynamo)).toEqual(["blocks.0.fc.weight", undefined, "logits.weight", undefined]);
  expect(names(networks.TorchScript)).toEqual(["blocks.0.fc.weight", undefined, "logits.weight", undefined]);
  expect(names(networks.tf2onnx)).toEqual([
    "model/blocks.0.fc.weight",
    "model/blocks.0.fc.bias",
    undefined,
    "model/logits.bias",
  ]);
});

describe("a pattern that matches nothing", () => {
  const graph = networks.TorchScript as Graph;

  test.each<[string, ParameterOptions]>([
    ["--freeze", { freeze: /^logit\./ }],
    ["--trainable", { trainable: /^logit\./ }],
    ["--trainable", { alsoTrain: /^logit\./ }],
  ])("%s names what comes nearest", (option, options) => {
    expect(() => findParameters(graph, options)).toThrow(
      `${option} ^logit\\. matches no parameter; near it: logits, `,
    );
  });

  test("of a penalty names the layers, those that take none too", async () => {
    await inferShapes(graph, nodeProbe, {});
    const { sites } = findSites(graph);
    const check = (plan: Partial<PenaltyPlan>) =>
      checkChoices([{ penalty: som(), ...plan }], sites, [{ name: "gate", op: "Gemm", reason: "" }]);
    expect(() => check({ exclude: /^logit$/ })).toThrow(
      "--exclude ^logit$ matches no layer; near it: logits, ",
    );
    expect(() => check({ include: /^logits$/, exclude: /^gate$/ })).not.toThrow();
  });

  test("is no fault where there is nothing to choose from", () => {
    expect(() => checkMatches("--freeze", /x/, "parameter", [])).not.toThrow();
  });
});

test("notes of a file are read up to a limit", () => {
  const long = `['', '${"a".repeat(100_000)}', 'blocks', 'linear']`;
  const graph = network([{ node: "n", weight: "w", bias: "b", metadata: scopes(long) }]);
  expect(() => findParameters(graph, { freeze: /^blocks$/ })).toThrow("matches no parameter");
});
