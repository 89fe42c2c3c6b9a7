import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { base64 } from "../../src/block/base64.ts";
import { blockOf, removeBlock } from "../../src/block/block.ts";
import type { Mark } from "../../src/block/mark.ts";
import { strip } from "../../src/block/strip.ts";
import { Emit } from "../../src/graph/emit.ts";
import { Graph } from "../../src/graph/graph.ts";
import { graphOf } from "../../src/graph/model-graph.ts";
import { graphToProto, nodeToProto, valueInfo } from "../../src/graph/proto.ts";
import type { BuiltBlock } from "../../src/inject/build-block.ts";
import { inject } from "../../src/inject/inject.ts";
import type { InjectOptions } from "../../src/inject/options.ts";
import { spliceBlock } from "../../src/inject/splice-block.ts";
import { inspect } from "../../src/measure/inspect.ts";
import { decodeModelProto, encodeModelProto } from "../../src/onnx/codec.ts";
import { Model } from "../../src/onnx/model.ts";
import { layoutOf } from "../../src/onnx/splice.ts";
import { chunkBytes } from "../../src/onnx/stored.ts";
import { bytesField, concatBytes, equalBytes } from "../../src/onnx/wire.ts";
import { som } from "../../src/penalties/som.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { backendModel, backendModels, backendModelsMissing } from "../helpers/backend-models.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { encodings, reencode } from "../helpers/reencode.ts";
import { runModel } from "../helpers/run-model.ts";
import { network, samples, withSom } from "../inject/models.ts";

/** The bytes after inject, written to a file and read again, and strip. */
async function thereAndBack(bytes: Uint8Array, options: Partial<InjectOptions> = {}): Promise<Uint8Array> {
  const injected = await withSom(Model.fromBytes(bytes), options);
  return strip(Model.fromBytes(concatBytes(injected.chunks))).bytes;
}

describe("strip(inject(model))", () => {
  const choices = fc.constantFrom<Partial<InjectOptions>>(
    {},
    { loss: "loss" },
    { objective: "cross-entropy", perSite: true },
  );
  const original = network({ loss: "vector", lossReader: true }).bytes;

  it("is byte-equal for files of other encoders", async () => {
    await fc.assert(
      fc.asyncProperty(encodings, choices, async (encoding, options) => {
        const bytes = reencode(original, encoding);
        expect(equalBytes(await thereAndBack(bytes, options), bytes)).toBe(true);
      }),
      { numRuns: 40, seed: 7 },
    );
  });

  it("loads in ONNX Runtime in between, whatever the encoder", async () => {
    const x = samples(5);
    const before = await runModel(original, { x });
    for (const encoding of [
      { padding: 5 },
      { shuffle: 11 },
      { packed: true },
      { unknown: true, shuffle: 3 },
    ]) {
      const injected = await withSom(Model.fromBytes(reencode(original, encoding)), { loss: "loss" });
      const after = await runModel(injected.bytes, { x });
      expect(after.y?.numbers()).toEqual(before.y?.numbers());
      const penalty = after.sorth_penalty?.numbers()[0] ?? Number.NaN;
      const w = som().definition.weight ?? 1;
      expect(after.loss?.numbers()[0]).toBeCloseTo((before.loss?.numbers()[0] ?? 0) + w * penalty, 5);
    }
  });

  const folder = fileURLToPath(new URL("../fixtures/exports/", import.meta.url));
  const exported = readdirSync(folder).filter((name) => name.endsWith(".onnx"));
  it.each(exported)("is byte-equal for the PyTorch export %s", async (name) => {
    const bytes = new Uint8Array(readFileSync(folder + name));
    expect(equalBytes(await thereAndBack(bytes, { perSite: true }), bytes)).toBe(true);
  });

  describe.skipIf(backendModelsMissing)(`for ONNX backend models ${backendModelsMissing || ""}`, () => {
    it("is byte-equal wherever a layer takes a penalty", async () => {
      const changed: string[] = [];
      let injected = 0;
      for (const name of backendModels) {
        const bytes = backendModel(name);
        try {
          if (!equalBytes(await thereAndBack(bytes), bytes)) changed.push(name);
          injected++;
        } catch (error) {
          // Most hold one operator and no layer, an opset of old, or what ONNX Runtime lacks.
          expect(String(error)).toMatch(
            /^SorthError: (no layer of the model|the model (has opset|imports no)|ONNX Runtime refuses|input "[^"]+" has the length 0)/,
          );
        }
      }
      expect(changed).toEqual([]);
      expect(injected).toBeGreaterThan(5);
    });

    it("is byte-equal for a block by hand in each of them, its loss renamed", () => {
      let renamed = 0;
      const changed = backendModels.filter((name) => {
        const bytes = backendModel(name);
        const { chunks, loss } = blockByHand(bytes);
        if (loss) renamed++;
        return !equalBytes(strip(Model.fromBytes(concatBytes(chunks))).bytes, bytes);
      });
      expect(changed).toEqual([]);
      expect(renamed).toBeGreaterThan(1000);
    });
  });
});

/** A model's file with a constant as its penalty, and its first output renamed as a loss is. No ONNX Runtime asked. */
function blockByHand(bytes: Uint8Array): { chunks: Uint8Array[]; loss: boolean } {
  const { graph } = decodeModelProto(bytes);
  const own = (graph?.node ?? []).map(({ name, input, output }) => ({
    ...{ name: name ?? "", inputs: input ?? [], outputs: output ?? [] },
  }));
  const emit = new Emit(new Graph("block", new Map([["", 17]])), { prefix: "sorth/", constants: "nodes" });
  const penalty = emit.mul(emit.scalar(2), emit.scalar(3));
  const name = graph?.output?.[0]?.name ?? "";
  const loss = own.some(({ inputs, outputs }) => [...inputs, ...outputs].includes(name));
  // The loss under its old name, as inject computes it.
  if (loss)
    emit.graph.addNode({ opType: "Identity", name: "sorth/loss", inputs: [penalty], outputs: [name] });
  const block: BuiltBlock = {
    nodes: emit.graph.nodes,
    inputs: [],
    outputs: [penalty],
    gradients: new Map(),
    mark: {
      ...{ version: 1, penalty: penalty.name, penalties: [], sites: [], perSite: [] },
      ...(loss && { loss: { name, original: `sorth/original/${name}` } }),
    },
  };
  return { chunks: spliceBlock(layoutOf(bytes), own, block).map(chunkBytes), loss };
}

describe("strip", () => {
  const model = network({ loss: "scalar", lossReader: true });
  const structure = (bytes: Uint8Array) => {
    const { node, input, output, initializer } = decodeModelProto(bytes).graph ?? {};
    return { node, input, output, initializer: initializer?.map(({ name }) => name) };
  };

  it("takes the block out of a file that another tool wrote again", async () => {
    const injected = await withSom(model, { loss: "loss" });
    for (const encoding of [{ shuffle: 5 }, { padding: 3, packed: true }]) {
      const rewritten = reencode(encodeModelProto(decodeModelProto(injected.bytes)), encoding);
      const stripped = strip(Model.fromBytes(rewritten));
      expect(structure(stripped.bytes)).toEqual(structure(model.bytes));
      expect(stripped.proto.metadataProps).toEqual([]);
    }
  });

  it("keeps weights that were trained since", async () => {
    const { proto } = Model.fromBytes((await withSom(model, { loss: "loss" })).bytes);
    const weight = proto.graph?.initializer?.[0];
    if (weight) weight.rawData = new Uint8Array(weight.rawData?.length ?? 0);
    const stripped = strip(Model.fromProto(proto));
    expect(structure(stripped.bytes)).toEqual(structure(model.bytes));
    expect(stripped.proto.graph?.initializer?.[0]?.rawData?.every((byte) => byte === 0)).toBe(true);
  });

  it("works without the mark, by names", async () => {
    const { proto } = Model.fromBytes((await withSom(model, { loss: "loss" })).bytes);
    proto.metadataProps = [];
    expect(structure(strip(Model.fromProto(proto)).bytes)).toEqual(structure(model.bytes));
  });

  it("says when there is nothing to strip, or the mark is damaged", async () => {
    expect(() => strip(model)).toThrow("nothing to strip: no penalty was injected into this model");
    const { proto } = Model.fromBytes((await withSom(model)).bytes);
    for (const [value, reason] of [
      ["{", /metadata_props\["sorth"\] of the model is damaged/],
      ['{"version": 2}', /it has version 2, this program reads version 1/],
      ['{"version": 1}', /a field is missing/],
    ] as const) {
      proto.metadataProps = [{ key: "sorth", value }];
      expect(() => strip(Model.fromProto(proto))).toThrow(reason);
    }
  });
});

describe("what the model itself has under names like the block's", () => {
  /** x → MatMul sorth/fc by sorth/w → sorth/h → Relu → y; an output sorth_penalty of its own. */
  function own(): Model {
    const b = new GraphBuilder(17);
    const h = b.op("MatMul", [b.input("x", ["N", 4]), b.weight("sorth/w", [4, 6])], "sorth/h");
    const y = b.op("Relu", [h], "y");
    const dead = b.op("Neg", [h], "sorth/dead");
    const penalty = b.op("ReduceMean", [h], "sorth_penalty", { keepdims: 0 });
    for (const node of b.graph.nodes) if (node.op !== "ReduceMean") node.name = `sorth/${node.name}`;
    return Model.fromBytes(encodeModelProto(graphToProto(b.output(y, penalty, dead))));
  }

  it("is no penalty, and survives inject and strip, with the mark and without", async () => {
    const model = own();
    expect((await inspect(model, {}, nodeProbe)).kind).toBe("model");
    expect(() => strip(model)).toThrow("nothing to strip");
    const injected = await withSom(model);
    expect((await inspect(injected, {}, nodeProbe)).sites.map(({ name }) => name)).toEqual(["sorth/sorth/h"]);
    expect(equalBytes(strip(Model.fromBytes(injected.bytes)).bytes, model.bytes)).toBe(true);
    const { proto } = Model.fromBytes(injected.bytes);
    proto.metadataProps = [];
    const { graph } = strip(Model.fromProto(proto)).proto;
    expect(graph?.initializer?.map(({ name }) => name)).toEqual(["sorth/w"]);
    const kept = graph?.node?.map(({ output }) => output?.[0]);
    expect(kept).toEqual(expect.arrayContaining(["sorth/h", "y", "sorth_penalty"]));
  });
});

describe("a mark that does not fit is refused", () => {
  type Change = (mark: Record<string, unknown> & Mark) => unknown;
  const hidden = concatBytes([bytesField(1, new Uint8Array()), bytesField(5, Uint8Array.of(8, 1))]);
  it.each<[string, Change, RegExp]>([
    [
      "a length of 10⁹ bytes",
      (m) => ({ ...m, file: { graphLengthWidth: 1e9 } }),
      /a field is missing or of another/,
    ],
    ["another checksum", (m) => ({ ...m, checksum: 1 }), /its checksum does not fit/],
    [
      "an output of the model",
      (m) => ({ ...m, perSite: ["y"] }),
      /names the output "y", which no node of the block/,
    ],
    [
      "an input of the model",
      (m) => ({ ...m, objective: { name: "mse", prediction: "y", labels: "x", output: "sorth_penalty" } }),
      /names the input "x", which the model itself reads/,
    ],
    [
      "a kept record with another behind it",
      (m) => ({ ...m, file: { ...m.file, replaced: [base64.encode(hidden)] } }),
      /a kept record is no node/,
    ],
    [
      "a loss with a name of any kind",
      (m) => ({ ...m, loss: { name: "loss", original: "y" } }),
      /a field is missing/,
    ],
  ])("%s", async (_, change, reason) => {
    const { proto } = Model.fromBytes((await withSom(network({ loss: "scalar" }), { loss: "loss" })).bytes);
    const { checksum: _checksum, ...mark } = JSON.parse(proto.metadataProps?.[0]?.value ?? "{}");
    proto.metadataProps = [{ key: "sorth", value: JSON.stringify(change(mark)) }];
    const damaged = Model.fromProto(proto);
    expect(() => strip(damaged)).toThrow(reason);
  });

  it("or one of two", async () => {
    const { proto } = Model.fromBytes((await withSom(network())).bytes);
    proto.metadataProps = [...(proto.metadataProps ?? []), ...(proto.metadataProps ?? [])];
    expect(() => strip(Model.fromProto(proto))).toThrow("there are several");
  });
});

describe("blockOf and removeBlock", () => {
  const print = (graph: Graph) => ({
    nodes: graph.sorted().map(nodeToProto),
    inputs: graph.inputs.map(valueInfo),
    outputs: graph.outputs.map(valueInfo),
    metadata: [...graph.metadata],
  });

  it.each<Partial<InjectOptions>>([{}, { loss: "loss" }, { objective: "mse", perSite: true }])(
    "give the graph before inject back (%o)",
    async (options) => {
      const model = network({ loss: "scalar", lossReader: true });
      const graph = graphOf(await withSom(model, options));
      const block = blockOf(graph);
      if (!block) throw new Error("no block");
      expect(block.penalty?.name).toBe("sorth_penalty");
      removeBlock(graph, block);
      expect(print(graph)).toEqual(print(graphOf(model)));
      expect(blockOf(graph)).toBeUndefined();
    },
  );

  it("know the penalties that the block was made from", async () => {
    const penalties = [{ penalty: som({ gamma: 3 }), weight: 0.5, include: /FC1/i }];
    const block = blockOf(graphOf(await inject(network(), { penalties }, nodeProbe)));
    expect(block?.penalties).toEqual(penalties);
  });
});
