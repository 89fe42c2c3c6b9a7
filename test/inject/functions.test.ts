import Long from "long";
import { describe, expect, it } from "vitest";
import { strip } from "../../src/block/strip.ts";
import { graphOf, modelOf } from "../../src/graph/model-graph.ts";
import { crossEntropy, Trainer } from "../../src/index.ts";
import { inspect } from "../../src/measure/inspect.ts";
import { Model } from "../../src/onnx/model.ts";
import { onnx } from "../../src/onnx/schema.js";
import { Tensor } from "../../src/onnx/tensor.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { inlineFunctions } from "../../src/passes/expansion/inline-functions.ts";
import { runGraphPass } from "../../src/passes/pass.ts";
import { so } from "../../src/penalties/weights/so.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { verify } from "../../src/verify/verify.ts";
import { runModel } from "../helpers/run-model.ts";
import { clouds } from "../runtime/small-run.ts";
import { info, intAttribute, parameter, samples, withSom } from "./models.ts";

type NodeFields = onnx.NodeProto.$Properties;
type FunctionFields = onnx.FunctionProto.$Properties;

const opset = (version: number) => [{ domain: "", version: Long.fromNumber(version) }];
const local = { domain: "local", name: "" };

/** A function of the domain `local`. */
const func = (
  name: string,
  input: string[],
  output: string[],
  node: NodeFields[],
  version = 17,
): FunctionFields => ({
  ...{ name, domain: "local", input, output, node },
  opsetImport: [...opset(version), { domain: "local", version: Long.fromNumber(1) }],
});

/** Tanh(X Wᵀ + B). */
const block = (version = 17): FunctionFields =>
  func(
    "Block",
    ["X", "W", "B"],
    ["Y"],
    [
      {
        opType: "Gemm",
        name: "dense",
        input: ["X", "W", "B"],
        output: ["G"],
        attribute: [intAttribute("transB", 1)],
      },
      { opType: "Tanh", input: ["G"], output: ["Y"] },
    ],
    version,
  );

/** x [batch, 6] → the nodes → y [batch, 5], with w1 [8, 6], b1, w2 [5, 8], b2. */
function model(
  node: NodeFields[],
  functions: FunctionFields[],
  outputs = [info("y", "float", ["batch", 5])],
): Model {
  const proto = new onnx.ModelProto({
    irVersion: Long.fromNumber(8),
    opsetImport: [...opset(17), { domain: "local", version: Long.fromNumber(1) }],
    functions,
    graph: {
      ...{ name: "functions", node, output: outputs, input: [info("x", "float", ["batch", 6])] },
      initializer: [
        ...[parameter("w1", [8, 6]), parameter("b1", [8]), parameter("w2", [5, 8]), parameter("b2", [5])],
        Tensor.float("c1", [1], [0.5]).toProto(),
      ],
    },
  });
  return Model.fromBytes(onnx.ModelProto.encode(proto).finish().slice());
}

const call = (opType: string, input: string[], output: string[]): NodeFields => ({
  ...{ opType, input, output, name: output[0] ?? "", domain: local.domain },
});

const twoBlocks = [call("Block", ["x", "w1", "b1"], ["h"]), call("Block", ["h", "w2", "b2"], ["y"])];

/** The same model without functions. */
function inlined(whole: Model): Model {
  const graph = graphOf(whole);
  runGraphPass(inlineFunctions(), graph);
  return modelOf(graph, whole);
}

const failed = async (original: Model, injected: Model) =>
  (await verify(original, injected, {}, nodeProbe)).checks.filter(({ status }) => status !== "passed");

describe("layers inside functions", () => {
  const loss = [info("y", "float", ["batch", 5]), info("loss", "float", [])];
  const cases: Record<string, { readonly model: Model; readonly sites: string[]; readonly loss?: string }> = {
    "two calls of one function": { model: model(twoBlocks, [block()]), sites: ["h/dense", "y/dense"] },
    "a function in an older opset": { model: model(twoBlocks, [block(12)]), sites: ["h/dense", "y/dense"] },
    "a layer behind an If of the function, whose branches read the function's values": {
      model: model(
        [call("Guarded", ["x", "w1", "b1"], ["h"]), call("Block", ["h", "w2", "b2"], ["y"])],
        [
          block(),
          func(
            "Guarded",
            ["X", "W", "B"],
            ["Y"],
            [
              { opType: "Neg", input: ["X"], output: ["A"] },
              { opType: "ReduceMax", input: ["X"], output: ["M"], attribute: [intAttribute("keepdims", 0)] },
              { opType: "Sub", input: ["M", "M"], output: ["Z"] },
              { opType: "Less", input: ["M", "Z"], output: ["C"] },
              {
                ...{ opType: "If", input: ["C"], output: ["S"] },
                attribute: (["then_branch", "else_branch"] as const).map((name, i) => ({
                  ...{ name, type: 5 },
                  g: {
                    name,
                    node: [{ opType: i === 0 ? "Abs" : "Exp", input: ["A"], output: [`${name}.out`] }],
                    output: [info(`${name}.out`, "float", ["batch", 6])],
                  },
                })),
              },
              {
                ...{ opType: "Gemm", name: "dense", input: ["S", "W", "B"], output: ["G"] },
                attribute: [intAttribute("transB", 1)],
              },
              { opType: "Tanh", input: ["G"], output: ["Y"] },
            ],
          ),
        ],
      ),
      sites: ["h/dense", "y/dense"],
    },
    "a function that calls another, a response that the call returns": {
      model: model(
        [call("Outer", ["x", "w1", "b1"], ["h"]), call("Linear", ["h", "w2"], ["y"])],
        [
          block(),
          func(
            "Outer",
            ["X", "W", "B"],
            ["Z"],
            [
              {
                opType: "Constant",
                output: ["half"],
                attribute: [{ name: "value", type: 4, t: Tensor.float("", [], [0.5]).toProto() }],
              },
              { opType: "Mul", input: ["X", "half"], output: ["S"] },
              call("Block", ["S", "W", "B"], ["Z"]),
            ],
          ),
          func(
            "Linear",
            ["X", "W"],
            ["Y"],
            [{ opType: "Gemm", input: ["X", "W"], output: ["Y"], attribute: [intAttribute("transB", 1)] }],
          ),
        ],
      ),
      sites: ["h/dense", "y/Gemm"],
    },
    "a loss that a function computes": {
      model: model(
        [...twoBlocks, call("Loss", ["y"], ["loss"])],
        [
          block(),
          func(
            "Loss",
            ["Y"],
            ["L"],
            [
              { opType: "Mul", input: ["Y", "Y"], output: ["S"] },
              { opType: "ReduceMean", input: ["S"], output: ["L"], attribute: [intAttribute("keepdims", 0)] },
            ],
          ),
        ],
        loss,
      ),
      sites: ["h/dense", "y/dense"],
      loss: "loss",
    },
  };

  it.each(Object.keys(cases))("%s: injected, R as without functions, stripped to the byte", async (name) => {
    const { model: original, sites, loss } = cases[name] as (typeof cases)[string];
    const options = loss ? { loss } : {};
    const injected = await withSom(original, { ...options, perSite: true });
    const before = original.proto.graph?.node ?? [];
    if (!loss) expect(injected.proto.graph?.node?.slice(0, before.length)).toEqual(before);
    const plain = await withSom(inlined(original), { ...options, perSite: true });
    const feeds = { x: samples(7) };
    const run = { optimize: false };
    const [found, wanted] = [
      await runModel(injected.bytes, feeds, run),
      await runModel(plain.bytes, feeds, run),
    ];
    expect(Object.keys(found)).toEqual(expect.arrayContaining(sites.map((site) => `sorth_penalty/${site}`)));
    expect(Object.keys(found).sort()).toEqual(Object.keys(wanted).sort());
    for (const [output, tensor] of Object.entries(wanted))
      expect(found[output]?.numbers()).toEqual(tensor.numbers());
    expect(await failed(original, injected)).toMatchObject([{ name: "outputs at the default level" }]);
    expect(equalBytes(strip(Model.fromBytes(injected.bytes)).bytes, original.bytes)).toBe(true);
  });

  it("verify fails where the block computes the layer otherwise than the function", async () => {
    const original = model(twoBlocks, [block()]);
    const proto = (await withSom(original)).proto;
    const copy = proto.graph?.node?.find(({ name }) => name === "sorth/h/dense");
    if (copy?.input) copy.input[2] = "c1";
    const report = await failed(original, Model.fromProto(proto));
    expect(report.map(({ name, status }) => `${name}: ${status}`)).toContain("penalty of h/dense: failed");
  });

  it("train honours the injected penalty", async () => {
    const injected = await withSom(model(twoBlocks, [block()]));
    const trainer = await Trainer.create(injected, { objective: crossEntropy(), batch: 4 });
    const penalties: number[] = [];
    for await (const event of trainer.fit(clouds("clouds", 8), { epochs: 1 }))
      if (event.event === "step") penalties.push(event.penalty);
    expect(penalties.length).toBe(2);
    expect(Math.min(...penalties)).toBeGreaterThan(0);
    await trainer.release();
  });

  it.each([
    {
      why: "its weight is a constant inside a function",
      node: [call("Fixed", ["x"], ["h"]), call("Block", ["h", "w2", "b2"], ["y"])],
      functions: [
        block(),
        func(
          "Fixed",
          ["X"],
          ["Y"],
          [
            {
              opType: "Constant",
              output: ["w"],
              attribute: [{ name: "value", type: 4, t: parameter("w", [6, 8]) }],
            },
            { opType: "MatMul", name: "inside", input: ["X", "w"], output: ["Y"] },
          ],
        ),
      ],
      skipped: "h/inside",
    },
    {
      why: 'Dropout "y/Dropout" in a function or a body draws random numbers',
      node: [call("Block", ["x", "w1", "b1"], ["h"]), call("Noisy", ["h", "w2"], ["y"])],
      functions: [
        block(),
        func(
          "Noisy",
          ["X", "W"],
          ["Y"],
          [
            {
              opType: "Constant",
              output: ["r"],
              attribute: [{ name: "value", type: 4, t: Tensor.float("", [], [0.5]).toProto() }],
            },
            {
              opType: "Constant",
              output: ["t"],
              attribute: [
                { name: "value", type: 4, t: Tensor.of("", "bool", [], Uint8Array.of(1)).toProto() },
              ],
            },
            { opType: "Dropout", input: ["X", "r", "t"], output: ["D"] },
            {
              opType: "Gemm",
              name: "inside",
              input: ["D", "W"],
              output: ["G"],
              attribute: [intAttribute("transB", 1)],
            },
            { opType: "Tanh", input: ["G"], output: ["Y"] },
          ],
        ),
      ],
      skipped: "y/inside",
    },
  ])("leaves out: $why", async ({ node, functions, why, skipped }) => {
    const messages: string[] = [];
    const whole = model(node, functions);
    const injected = await withSom(whole, { onMessage: (text) => messages.push(text) });
    expect(messages).toEqual([expect.stringContaining(`${skipped}: no penalty: ${why}`)]);
    expect(injected.proto.graph?.output?.length).toBe(2);
    const { advice } = await inspect(whole, {}, nodeProbe);
    expect(advice.some((text) => text.startsWith(`"${skipped}"`))).toBe(skipped === "h/inside");
  });

  it("penalties on weights need no response, and a newer function is left alone", async () => {
    const newer = model(twoBlocks, [block(21)]);
    await expect(withSom(newer)).rejects.toThrow("needs newer or other operators than the model imports");
    const original = model(twoBlocks, [block()]);
    const injected = await withSom(original, { penalties: [so()] });
    expect(await failed(original, injected)).toMatchObject([{ name: "outputs at the default level" }]);
  });
});
