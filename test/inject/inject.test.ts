import { describe, expect, it } from "vitest";
import { findSites } from "../../src/analysis/sites.ts";
import { parseMark } from "../../src/block/mark.ts";
import { strip } from "../../src/block/strip.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { inject } from "../../src/inject/inject.ts";
import type { InjectOptions } from "../../src/inject/options.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { Model } from "../../src/onnx/model.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { definePenalty } from "../../src/penalties/define.ts";
import { som } from "../../src/penalties/som.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { verify } from "../../src/verify/verify.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { runModel } from "../helpers/run-model.ts";
import { info, modelOf, names, network, parameter, samples, withSom } from "./models.ts";

/** The sum of all responses times a factor: a penalty whose numbers are easy to check. */
const mean = definePenalty({
  name: "mean",
  summary: "mean response",
  source: "test",
  defaults: { factor: 1 },
  on: "responses",
  build: ({ g, response }, { factor }) => g.mul(g.reduceMean(response), factor),
  reference: ({ responses: rows }, { factor }) => {
    const count = rows.length * (rows[0]?.length ?? 0);
    return {
      value: (factor * rows.flat().reduce((a, b) => a + b, 0)) / count,
      gradient: { responses: rows.map((row) => row.map(() => factor / count)) },
    };
  },
});

describe("inject", () => {
  it("adds a scalar output and a marked block, and leaves all else", async () => {
    const model = network();
    const injected = await withSom(model);
    const { graph } = injected.proto;
    expect(names(graph?.output)).toEqual(["y", "sorth_penalty"]);
    expect(names(graph?.input)).toEqual(["x"]);
    expect(names(graph?.initializer)).toEqual(["w1", "b1", "w2", "b2"]);
    const added = graph?.node?.slice(3) ?? [];
    expect(graph?.node?.slice(0, 3)).toEqual(model.proto.graph?.node);
    expect(added.length).toBeGreaterThan(20);
    expect(added.filter(({ name }) => !name?.startsWith("sorth/"))).toEqual([]);
    const mark = parseMark(injected.proto.metadataProps.find(({ key }) => key === "sorth")?.value ?? "");
    expect(mark.sites.map(({ name }) => name)).toEqual(["fc1", "fc2"]);
    expect(mark.penalties).toMatchObject([{ name: "som", weight: 0.1, options: { lambda1: 0, gamma: 10 } }]);
    expect(
      (await verify(model, injected, {}, nodeProbe)).checks.filter(({ status }) => status === "failed"),
    ).toEqual([]);
  });

  it("shares the bytes of the original", async () => {
    const model = network();
    const injected = await withSom(model);
    const own = injected.chunks.filter(({ buffer }) => buffer === model.bytes.buffer);
    expect(own.reduce((size, { length }) => size + length, 0)).toBeGreaterThan(model.size - 8);
  });

  it.each([
    { opset: 11, irVersion: 3, initializersAreInputs: true },
    { opset: 11, irVersion: 6 },
    { opset: 12, irVersion: 7 },
    { opset: 13, irVersion: 7 },
    { opset: 18, irVersion: 8 },
    { opset: 21, irVersion: 10 },
    { opset: 26, irVersion: 13 },
  ])("keeps opset $opset and IR $irVersion", async (options) => {
    const model = network(options);
    const injected = await withSom(model, { objective: "cross-entropy" });
    expect(Number(injected.proto.irVersion)).toBe(options.irVersion);
    expect(Number(injected.proto.opsetImport[0]?.version)).toBe(options.opset);
    const report = await verify(model, injected, {}, nodeProbe);
    expect(report.checks.filter(({ status }) => status === "failed")).toEqual([]);
    expect(equalBytes(strip(Model.fromBytes(injected.bytes)).bytes, model.bytes)).toBe(true);
  });

  it.each(["double", "float16"] as const)("takes a %s model", async (type) => {
    const model = network({ type, loss: "scalar" });
    const injected = await withSom(model, { loss: "loss" });
    const report = await verify(model, injected, {}, nodeProbe);
    expect(report.checks.filter(({ status }) => status === "failed")).toEqual([]);
    const penalty = graphOf(injected).outputs.find(({ name }) => name === "sorth_penalty");
    expect(penalty?.type).toBe(type === "double" ? "double" : "float");
  });

  it("leaves a free batch free, at one and at many", async () => {
    const injected = await withSom(network());
    const [one, many] = [await penaltyAt(injected, 2), await penaltyAt(injected, 37)];
    expect(one).toBeGreaterThan(0);
    expect(many).toBeGreaterThan(0);
    expect(many).toBeLessThan(one);
  });

  it("uses a fixed batch, and warns where it is small", async () => {
    const messages: string[] = [];
    await withSom(network({ batch: 3 }), { onMessage: (message) => messages.push(message) });
    expect(messages).toEqual([
      "fc1: 3 rows for 8 units: the penalty cannot reach 0",
      "fc2: 3 rows for 5 units: the penalty cannot reach 0",
    ]);
  });

  it("uses only operators that official training differentiates or stops at", async () => {
    const known = new Set(
      "Cast Tanh Sqrt MatMul ReduceMean ReduceSum Add Sub Mul Div Neg Gather Reshape Transpose Gemm Where Reciprocal Identity SoftmaxCrossEntropyLoss Exp Log Abs Relu Constant Equal Greater".split(
        " ",
      ),
    );
    for (const objective of ["cross-entropy", "mse", "l1", "bce"] as const) {
      const { graph } = (await withSom(network(), { objective, perSite: true })).proto;
      const block = (graph?.node ?? []).filter(({ name }) => name?.startsWith("sorth/"));
      expect(block.map(({ opType }) => opType ?? "").filter((op) => !known.has(op))).toEqual([]);
    }
  });

  it("stores no constant as large as units × units", async () => {
    for (const node of graphOf(await withSom(network())).nodes) {
      if (node.opType === "Constant") expect(node.tensor("value")?.size).toBeLessThanOrEqual(8);
    }
  });
});

const penaltyAt = async (model: Model, batch: number): Promise<number> => {
  const { sorth_penalty: penalty } = await runModel(model.bytes, { x: samples(batch) });
  expect(penalty?.dims).toEqual([]);
  return penalty?.numbers()[0] ?? Number.NaN;
};

describe("several penalties", () => {
  it("count relative to the first one's weight, which is w", async () => {
    const model = network({ loss: "scalar" });
    const penalties = [
      { penalty: mean({ factor: 1 }), weight: 0.5 },
      { penalty: som(), weight: 2, include: /fc1/ },
    ];
    const injected = await inject(model, { penalties, loss: "loss", perSite: true }, nodeProbe);
    const x = samples(16);
    const plain = await runModel((await withSom(model, { perSite: true })).bytes, { x });
    const averages = await runModel(
      (await inject(model, { penalties: [mean()], perSite: true }, nodeProbe)).bytes,
      { x },
    );
    const both = await runModel(injected.bytes, { x });
    const value = (from: typeof both, name: string) => from[name]?.numbers()[0] ?? Number.NaN;
    const fc1 = value(averages, "sorth_penalty/fc1") + 4 * value(plain, "sorth_penalty/fc1");
    expect(value(both, "sorth_penalty/fc1")).toBeCloseTo(fc1, 5);
    expect(value(both, "sorth_penalty")).toBeCloseTo(fc1 + value(averages, "sorth_penalty/fc2"), 5);
    expect(value(both, "loss")).toBeCloseTo(value(plain, "loss") + 0.5 * value(both, "sorth_penalty"), 5);
    const report = await verify(model, injected, { penalties: [mean()] }, nodeProbe);
    expect(report.checks.filter(({ status }) => status === "failed")).toEqual([]);
  });

  it("refuse one that holds the batch size", async () => {
    const baked = definePenalty({
      ...mean.definition,
      name: "baked",
      build: ({ site, response, g }) => g.reduceMean(g.reshape(response, [site.units * site.rows])),
    });
    await expect(inject(network(), { penalties: [baked()] }, nodeProbe)).rejects.toThrow(
      /wrote a length into its nodes/,
    );
  });
});

describe("choice of layers", () => {
  it("by name", async () => {
    const injected = await withSom(network(), {
      penalties: [{ penalty: som(), exclude: /2$/g }],
      perSite: true,
    });
    expect(names(injected.proto.graph?.output)).toEqual(["y", "sorth_penalty", "sorth_penalty/fc1"]);
  });

  it("says which there are when none is left", async () => {
    const none = withSom(network(), { penalties: [{ penalty: som(), include: /conv/ }] });
    await expect(none).rejects.toThrow("--include conv matches no layer; near it: fc1, fc2 (");
  });

  it("refuses a model without layers, with the reasons", async () => {
    const node = [{ opType: "MatMul", name: "product", input: ["x", "w"], output: ["y"] }];
    const graph = {
      ...{ name: "one unit", node, initializer: [parameter("w", [6, 1])] },
      ...{ input: [info("x", "float", ["batch", 6])], output: [info("y", "float", ["batch", 1])] },
    };
    await expect(withSom(Model.fromBytes(modelOf(graph)))).rejects.toThrow(
      /no layer of the model can take a penalty \(product: no penalty: one unit has no pairs\)/,
    );
  });

  it("names first the layers that another penalty takes", async () => {
    const product = (name: string) => ({ opType: "MatMul", name, input: ["x", `${name}.w`], output: [name] });
    const lone = ["a", "b", "c", "d"];
    const graph = {
      ...{ name: "one row", node: [...lone, "fc"].map(product) },
      initializer: [...lone.map((name) => parameter(`${name}.w`, [6, 1])), parameter("fc.w", [6, 4])],
      input: [info("x", "float", [1, 6])],
      output: [...lone.map((name) => info(name, "float", [1, 1])), info("fc", "float", [1, 4])],
    };
    await expect(withSom(Model.fromBytes(modelOf(graph)))).rejects.toThrow(
      /take a penalty \(fc: no som penalty: one row .*; a: no penalty: one unit has no pairs; b: /,
    );
  });
});

describe("inject refuses", () => {
  it.each([
    ["opset 6", network({ opset: 6 }), /has opset 6; supported are opsets 7 to 26/],
    ["opset 27", network({ opset: 27 }), /has opset 27/],
    ["IR 14", network({ irVersion: 14 }), /IR version 14; ONNX Runtime loads up to 13/],
  ])("%s", async (_, model, reason) => {
    await expect(withSom(model)).rejects.toThrow(reason);
  });

  it("a second time, with or without the mark", async () => {
    const injected = await withSom(network());
    await expect(withSom(injected)).rejects.toThrow(/injected already; strip it first/);
    const { proto } = Model.fromBytes(injected.bytes);
    proto.metadataProps = [];
    await expect(withSom(Model.fromProto(proto))).rejects.toThrow(/injected already; strip it first/);
  });

  it("graphs of official training tools", async () => {
    const { proto } = Model.fromBytes(network().bytes);
    proto.graph?.node?.push({
      opType: "ReluGrad",
      domain: "com.microsoft",
      name: "g",
      input: ["y", "y"],
      output: ["dy"],
    });
    proto.opsetImport.push({ domain: "com.microsoft", version: proto.opsetImport[0]?.version ?? null });
    await expect(withSom(Model.fromProto(proto))).rejects.toThrow(
      /ONNX Runtime's training tools is no training model; the penalty belongs into training_model.onnx/,
    );
  });

  it("penalties that make no sense", async () => {
    const wrong = (penalties: InjectOptions["penalties"]) => inject(network(), { penalties }, nodeProbe);
    await expect(wrong([])).rejects.toThrow(/no penalty was given/);
    await expect(wrong([som(), som()])).rejects.toThrow(/layer "fc1" would get the penalty som twice/);
    await expect(wrong([{ penalty: som(), weight: -1 }])).rejects.toThrow(/at least 0, not -1/);
  });
});

describe("layers behind no output", () => {
  it("are left out", async () => {
    const b = new GraphBuilder(18);
    const x = b.input("x", ["N", 4]);
    const y = b.op("MatMul", [x, b.weight("w", [4, 4])], "y");
    b.op("MatMul", [x, b.weight("v", [4, 4])], "z");
    const model = Model.fromBytes(encodeModelProto(graphToProto(b.output(y))));
    const messages: string[] = [];
    const injected = await withSom(model, { onMessage: (message) => messages.push(message) });
    expect(messages).toEqual(["z: no penalty: no output of the model depends on it"]);
    expect(findSites(graphOf(injected)).skipped.at(-1)?.name).toBe("z");
  });
});
