import { describe, expect, it } from "vitest";
import { strip } from "../../src/block/strip.ts";
import { Model } from "../../src/onnx/model.ts";
import type { ExternalReader } from "../../src/onnx/tensor.ts";
import { equalBytes } from "../../src/onnx/wire.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { verify } from "../../src/verify/verify.ts";
import { randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { info, modelOf, names, network, parameter, samples, withSom } from "./models.ts";

describe("names", () => {
  it("that are taken get the prefix", async () => {
    const { proto } = Model.fromBytes(network().bytes);
    proto.graph?.node?.push({ opType: "Identity", input: ["y"], output: ["labels"] });
    proto.graph?.output?.push(info("labels", "float", ["batch", 5]));
    const model = Model.fromProto(proto);
    const injected = await withSom(model, { objective: "cross-entropy" });
    expect(names(injected.proto.graph?.input)).toEqual(["x", "sorth/labels"]);
    expect(equalBytes(strip(Model.fromBytes(injected.bytes)).bytes, model.bytes)).toBe(true);
  });

  it("that are not UTF-8 stay, and a layer whose output has one is left out", async () => {
    const text = new TextDecoder("latin1").decode(network({ loss: "scalar" }).bytes);
    // "squares" becomes a name of 7 bytes that is no UTF-8, read and computed by nodes that are replaced.
    const strange = text.replaceAll("squares", "squar\u00ff\u00fe").replace(/fc1/g, "f\u00ff1");
    const bytes = Uint8Array.from(strange, (character) => character.charCodeAt(0));
    const injected = await withSom(Model.fromBytes(bytes), { loss: "loss" });
    expect(equalBytes(strip(Model.fromBytes(injected.bytes)).bytes, bytes)).toBe(true);
    const after = await runModel(injected.bytes, { x: samples(4) });
    const before = await runModel(bytes, { x: samples(4) });
    expect(after.y?.numbers()).toEqual(before.y?.numbers());

    const unreadable = Uint8Array.from(renameValue(text, "h", "\u00ff"), (character) =>
      character.charCodeAt(0),
    );
    const messages: string[] = [];
    const partial = await withSom(Model.fromBytes(unreadable), {
      onMessage: (message) => messages.push(message),
    });
    expect(messages).toEqual(["fc1: no som penalty: the name of its output is not valid UTF-8"]);
    expect(equalBytes(strip(Model.fromBytes(partial.bytes)).bytes, unreadable)).toBe(true);
  });
});

/** A model's bytes, as latin1 text, in which the value of that one-letter name has another. */
const renameValue = (text: string, from: string, to: string): string =>
  text.replaceAll(`\u0001${from}`, `\u0001${to}`);

describe("external data", () => {
  it("is neither read nor copied, where it is large", async () => {
    const model = networkWithExternal();
    const injected = await withSom(model);
    expect([...injected.externalLocations]).toEqual(["weights.bin"]);
    expect(injected.size).toBeLessThan(40_000);
    expect(equalBytes(strip(injected).bytes, model.bytes)).toBe(true);
  });

  it("is read by verify", async () => {
    const values = randomFloats("external", 64 * 32, -0.2, 0.2);
    const model = networkWithExternal(() => new Uint8Array(values.buffer));
    const report = await verify(model, await withSom(model), {}, nodeProbe);
    expect(report.checks.filter(({ status }) => status === "failed")).toEqual([]);
    expect(report.checks.map(({ name }) => name)).toContain("gradient of product");
  });
});

/** x: [batch, 64] → MatMul with [64, 32] floats in weights.bin, which by default does not exist. */
function networkWithExternal(external?: ExternalReader): Model {
  const read: ExternalReader =
    external ??
    (() => {
      throw new Error("the external file was read");
    });
  const weight = parameter("w", [64, 32]);
  weight.rawData = new Uint8Array();
  weight.dataLocation = 1;
  weight.externalData = [{ key: "location", value: "weights.bin" }];
  const bytes = modelOf({
    name: "external",
    node: [{ opType: "MatMul", name: "product", input: ["x", "w"], output: ["y"] }],
    input: [info("x", "float", ["batch", 64])],
    output: [info("y", "float", ["batch", 32])],
    initializer: [weight],
  });
  return Model.fromBytes(bytes, { external: read });
}
