import { describe, expect, it } from "vitest";
import { graphOf } from "../../src/graph/model-graph.ts";
import { inject } from "../../src/inject/inject.ts";
import type { InjectOptions } from "../../src/inject/options.ts";
import { Model } from "../../src/onnx/model.ts";
import type { onnx } from "../../src/onnx/schema.js";
import { Tensor } from "../../src/onnx/tensor.ts";
import { som } from "../../src/penalties/som.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { type VerifyReport, verify } from "../../src/verify/verify.ts";
import { info, modelOf, network, samples } from "../inject/models.ts";

const original = network({ loss: "scalar" });

const injectedWith = (options: Partial<InjectOptions> = {}): Promise<Model> =>
  inject(original, { penalties: [som()], ...options }, nodeProbe);

/** The names of the checks that fail once an injected model was changed. */
async function failures(
  change: (graph: onnx.GraphProto.$Properties) => void,
  options: Partial<InjectOptions> = {},
): Promise<string[]> {
  const { proto } = Model.fromBytes((await injectedWith(options)).bytes);
  change(proto.graph ?? {});
  return failed(await verify(original, Model.fromProto(proto), {}, nodeProbe));
}

const failed = (report: VerifyReport): string[] =>
  report.checks.filter(({ status }) => status === "failed").map(({ name }) => name);

const nodeNamed = (graph: onnx.GraphProto.$Properties, name: RegExp): onnx.NodeProto.$Properties => {
  const node = graph.node?.find((candidate) => name.test(candidate.name ?? ""));
  if (!node) throw new Error(`no node ${name}`);
  return node;
};

describe("verify", () => {
  it("passes what inject made, with a check for everything it claims", async () => {
    const report = await verify(original, await injectedWith({ loss: "loss" }), {}, nodeProbe);
    expect(report.passed).toBe(true);
    expect(report.checks.map(({ name, status }) => `${status} ${name}`)).toEqual([
      "passed nodes unchanged",
      "passed initializers unchanged",
      "passed inputs unchanged",
      "passed outputs unchanged",
      "passed strip restores the file",
      "passed block used",
      "passed outputs bit-identical",
      "noted outputs at the default level",
      "passed loss",
      "passed penalty of fc1",
      "passed penalty of fc2",
      "passed penalty",
      "passed gradient of fc1",
      "passed gradient of fc2",
      "passed batch stays free",
    ]);
  });

  it("finds a weight that changed", async () => {
    const names = await failures((graph) => {
      const weight = graph.initializer?.[0];
      if (weight) weight.rawData = new Uint8Array(weight.rawData?.length ?? 0);
    });
    expect(names).toEqual(["initializers unchanged", "outputs bit-identical"]);
  });

  it("finds a node of the model that changed", async () => {
    const names = await failures((graph) => {
      nodeNamed(graph, /^relu$/).opType = "Tanh";
    });
    expect(names).toEqual(["nodes unchanged", "outputs bit-identical"]);
  });

  it("finds a node of the block that leads nowhere, and a model that reads the block", async () => {
    const idle = await failures((graph) => {
      graph.node?.push({ opType: "Identity", name: "sorth/idle", input: ["y"], output: ["sorth/idle"] });
    });
    expect(idle).toEqual(["block used"]);
    const read = failures((graph) => {
      graph.node?.push({ opType: "Neg", name: "own", input: ["sorth_penalty"], output: ["negative"] });
    });
    // What the model itself reads is a part of the model: the mark does not fit it.
    await expect(read).rejects.toThrow(/"sorth_penalty", which no node of the block computes/);
  });

  it("finds a block that computes something else", async () => {
    const scaled = await failures((graph) => {
      // A steeper tanh: γ = 10.01 in place of 10.
      const ten = Float32Array.of(10).buffer;
      for (const node of graph.node ?? []) {
        const tensor = node.attribute?.[0]?.t;
        const raw = tensor?.rawData;
        if (tensor && raw?.length === 4 && Buffer.compare(raw, new Uint8Array(ten)) === 0) {
          tensor.rawData = new Uint8Array(Float32Array.of(10.01).buffer);
        }
      }
    });
    expect(scaled).toContain("penalty of fc1");
    expect(scaled).toContain("penalty");
  });

  it("finds a wrong slope behind a right value", async () => {
    // The block reads a copy of the responses whose numbers are right at the data but no longer follow the weights.
    const x = samples(4);
    const injected = await injectedWith();
    const responses = await nodeProbe.run(tapped(injected, "h"), new Map([["x", x]]));
    const { proto } = Model.fromBytes(injected.bytes);
    const frozen = responses.get("h")?.named("frozen");
    if (!frozen) throw new Error("no responses");
    proto.graph?.initializer?.push(frozen.toProto());
    for (const node of proto.graph?.node ?? []) {
      if (node.name?.startsWith("sorth/"))
        node.input = node.input?.map((name) => (name === "h" ? "frozen" : name)) ?? [];
    }
    const report = await verify(original, Model.fromProto(proto), { feeds: new Map([["x", x]]) }, nodeProbe);
    expect(failed(report)).toEqual(["initializers unchanged", "gradient of fc1"]);
  });

  it("finds a loss without its penalty", async () => {
    const lossless = await failures(
      (graph) => {
        const add = graph.node?.find(({ output }) => output?.includes("loss"));
        if (add) add.input = [add.input?.[0] ?? "", add.input?.[0] ?? ""];
      },
      { loss: "loss" },
    );
    expect(lossless).toContain("loss");
  });

  it("compares data that is given, and says which input it does not know", async () => {
    const injected = await injectedWith({ objective: "cross-entropy" });
    const feeds = new Map([
      ["x", samples(6)],
      ["labels", Tensor.int64("labels", [6], [0, 1, 2, 3, 4, 0])],
    ]);
    const report = await verify(original, injected, { feeds }, nodeProbe);
    expect(report.passed).toBe(true);
    expect(report.checks.map(({ name }) => name)).not.toContain("batch stays free");
    const unknown = verify(original, injected, { feeds: new Map([["z", samples(6)]]) }, nodeProbe);
    await expect(unknown).rejects.toMatchObject({ exitCode: 2, message: expect.stringContaining('"z"') });
  });

  it("refuses a second model without a block", async () => {
    await expect(verify(original, original, {}, nodeProbe)).rejects.toThrow(/give the original first/);
    expect(graphOf(original).metadata.size).toBe(0);
  });

  it("compares the outputs that ONNX Runtime returns, and names sequences and maps", async () => {
    const sequence: onnx.NodeProto.$Properties = {
      opType: "SequenceConstruct",
      input: ["y"],
      output: ["all"],
    };
    const model = Model.fromBytes(
      modelOf({
        name: "sequences",
        node: [{ opType: "MatMul", name: "fc", input: ["x", "w"], output: ["y"] }, sequence],
        initializer: [Tensor.float("w", [2, 3], [1, 2, 3, 4, 5, 7]).toProto()],
        input: [info("x", "float", ["N", 2])],
        output: [{ name: "all" }],
      }),
    );
    const injected = await inject(model, { penalties: [som()] }, nodeProbe);
    const report = await verify(model, injected, {}, nodeProbe);
    expect(report.passed).toBe(true);
    const shown = report.checks.filter(({ name }) => name.startsWith("outputs"));
    expect(shown.map(({ status, name, detail }) => `${status} ${name}: ${detail}`)).toEqual([
      "passed outputs unchanged: all 1 are as they were",
      'noted outputs not compared: "all": ONNX Runtime\'s JavaScript bindings return no sequences and maps',
      "noted outputs at the default level: largest relative difference 0.00000",
    ]);
  });
});

/** A model's bytes with one inner value as a further output. */
function tapped(model: Model, name: string): Uint8Array {
  const { proto } = Model.fromBytes(model.bytes);
  proto.graph?.output?.push({ name });
  return Model.fromProto(proto).bytes;
}
