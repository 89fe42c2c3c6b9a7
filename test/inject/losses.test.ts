import { describe, expect, it } from "vitest";
import { strip } from "../../src/block/strip.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { som } from "../../src/penalties/som.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { verify } from "../../src/verify/verify.ts";
import { runModel } from "../helpers/run-model.ts";
import { info, names, network, samples, withSom } from "./models.ts";

describe("a model's own loss", () => {
  it.each(["scalar", "vector"] as const)("gets the penalty under its name (%s)", async (loss) => {
    const model = network({ loss });
    const injected = await withSom(model, { penalties: [{ penalty: som(), weight: 0.25 }], loss: "loss" });
    expect(names(injected.proto.graph?.output)).toEqual(["y", "loss", "sorth_penalty"]);
    const x = samples(9);
    const before = await runModel(model.bytes, { x });
    const after = await runModel(injected.bytes, { x });
    const penalty = after.sorth_penalty?.numbers()[0] ?? Number.NaN;
    expect(after.loss?.dims).toEqual(before.loss?.dims);
    expect(after.loss?.numbers()[0]).toBeCloseTo((before.loss?.numbers()[0] ?? 0) + 0.25 * penalty, 6);
    expect(equalBytes(strip(Model.fromBytes(injected.bytes)).bytes, model.bytes)).toBe(true);
  });

  it("stays what other nodes read", async () => {
    const model = network({ loss: "scalar", lossReader: true });
    const injected = await withSom(model, { loss: "loss" });
    const x = samples(9);
    const before = await runModel(model.bytes, { x });
    const after = await runModel(injected.bytes, { x });
    expect(after.twice?.numbers()).toEqual(before.twice?.numbers());
    expect(after.loss?.numbers()).not.toEqual(before.loss?.numbers());
    expect((await verify(model, injected, {}, nodeProbe)).passed).toBe(true);
    expect(equalBytes(strip(Model.fromBytes(injected.bytes)).bytes, model.bytes)).toBe(true);
  });

  it.each([
    ["nothing", /has no output "nothing" to use as its loss; it has "y", "loss"/],
    ["y", /no loss: it is float \[12, 5\], not one float/],
  ])("is refused if it is %s", async (loss, reason) => {
    await expect(withSom(network({ loss: "scalar" }), { loss })).rejects.toThrow(reason);
  });

  it("is refused inside a body", async () => {
    const body = {
      name: "body",
      node: [{ opType: "Identity", input: ["loss"], output: ["inner"] }],
      output: [info("inner", "float", [])],
    };
    const proto = network({ loss: "scalar" }).proto;
    proto.graph?.input?.push(info("condition", "bool", []));
    proto.graph?.output?.push(info("chosen", "float", []));
    proto.graph?.node?.push({
      opType: "If",
      name: "choice",
      input: ["condition"],
      output: ["chosen"],
      attribute: ["then_branch", "else_branch"].map((name) => ({ name, type: 5, g: body })),
    });
    await expect(withSom(Model.fromProto(proto), { loss: "loss" })).rejects.toThrow(
      /the loss "loss" is read inside a body of node "choice"/,
    );
  });
});

describe("an objective", () => {
  const x = samples(3);

  it.each([11, 17])("cross-entropy at opset %i", async (opset) => {
    const injected = await withSom(network({ opset }), { objective: "cross-entropy" });
    const { graph } = injected.proto;
    expect(names(graph?.input)).toEqual(["x", "labels"]);
    expect(names(graph?.output)).toEqual(["y", "sorth_penalty", "loss"]);
    expect(graph?.input?.[1]?.type?.tensorType?.shape?.dim?.[0]?.dimParam).toBe("batch");
    const classes = [4, 0, 2];
    const labels = graphOf(injected).valueNamed("labels");
    expect(labels.type).toBe("int64");
    const {
      y,
      loss,
      sorth_penalty: penalty,
    } = await runModel(injected.bytes, { x, labels: Tensor.int64("labels", [3], classes) });
    const scores = y?.numbers() ?? [];
    const expected =
      classes.reduce((sum, label, row) => {
        const own = scores.slice(5 * row, 5 * row + 5);
        return sum + Math.log(own.reduce((total, s) => total + Math.exp(s), 0)) - (own[label] ?? 0);
      }, 0) / 3;
    expect(loss?.numbers()[0]).toBeCloseTo(expected + 0.1 * (penalty?.numbers()[0] ?? 0), 5);
  });

  it("declares log_prob, which official training asks for", async () => {
    const { graph } = (await withSom(network(), { objective: "cross-entropy" })).proto;
    const node = graph?.node?.find(({ opType }) => opType === "SoftmaxCrossEntropyLoss");
    expect(node?.output).toHaveLength(2);
  });

  it.each([
    ["mse", (p: number, y: number) => (p - y) ** 2],
    ["l1", (p: number, y: number) => Math.abs(p - y)],
    ["bce", (p: number, y: number) => Math.log(1 + Math.exp(p)) - y * p],
  ] as const)("%s", async (objective, formula) => {
    const injected = await withSom(network(), { objective, penalties: [{ penalty: som(), weight: 0 }] });
    const target = Array.from({ length: 15 }, (_, i) => (i % 4) / 4);
    const labels = Tensor.float("labels", [3, 5], target);
    const { y, loss } = await runModel(injected.bytes, { x, labels });
    const errors = (y?.numbers() ?? []).map((p, i) => formula(p, target[i] ?? 0));
    expect(loss?.numbers()[0]).toBeCloseTo(errors.reduce((a, b) => a + b, 0) / 15, 5);
  });

  it.each([
    ["Softmax", "cross-entropy"],
    ["Sigmoid", "bce"],
  ] as const)("reads what comes before a %s", async (end, objective) => {
    const messages: string[] = [];
    await withSom(network({ end }), { objective, onMessage: (message) => messages.push(message) });
    expect(messages.join()).toContain(`"y" comes out of a ${end}, which the ${objective} applies itself`);
  });

  it("refuses what does not fit", async () => {
    const both = withSom(network({ loss: "scalar" }), { objective: "mse", loss: "loss" });
    await expect(both).rejects.toMatchObject({ exitCode: 2, message: expect.stringContaining("not both") });
    const missing = withSom(network(), { objective: "mse", output: "z" });
    await expect(missing).rejects.toThrow('the model computes no value "z"; its outputs are y');
  });
});
