import fc from "fast-check";
import Long from "long";
import { describe, expect, it } from "vitest";
import { decodeModelProto, encodeModelProto, encodeNodeProto } from "../../src/onnx/codec.ts";
import { onnx } from "../../src/onnx/schema.js";
import { layoutOf, splice } from "../../src/onnx/splice.ts";
import { chunkBytes, joinChunks } from "../../src/onnx/stored.ts";
import {
  bytesField,
  concatBytes,
  fieldRecords,
  graphFields,
  modelFields,
  varint,
} from "../../src/onnx/wire.ts";
import { encodings, reencode } from "../helpers/reencode.ts";

const kinds = onnx.AttributeProto.AttributeType;

/** x → Transpose → Add(bias) → y, with attributes, an initializer, metadata: every kind of record that is walked. */
const sample = encodeModelProto(
  new onnx.ModelProto({
    irVersion: Long.fromNumber(8),
    producerName: "test",
    opsetImport: [{ domain: "", version: Long.fromNumber(17) }],
    metadataProps: [{ key: "made", value: "by hand" }],
    graph: new onnx.GraphProto({
      name: "sample",
      node: [
        {
          opType: "Transpose",
          input: ["x"],
          output: ["t"],
          attribute: [{ name: "perm", type: kinds.INTS, ints: [1, 0].map((v) => Long.fromNumber(v)) }],
        },
        { opType: "Add", input: ["t", "bias"], output: ["y"], name: "add" },
      ],
      input: [{ name: "x" }],
      output: [{ name: "y" }],
      initializer: [
        {
          name: "bias",
          dataType: 1,
          dims: [1, 200].map((v) => Long.fromNumber(v)),
          rawData: new Uint8Array(800),
        },
      ],
    }),
  }),
);

const relu = bytesField(
  graphFields.node,
  encodeNodeProto({ opType: "Relu", input: ["y"], output: ["z"], name: "added" }),
);

const nodeNames = (bytes: Uint8Array): string[] =>
  (decodeModelProto(bytes).graph?.node ?? []).map((node) => node.opType ?? "");

describe("splice", () => {
  it("adds a node, and taking it out again restores every byte, whatever the encoding", () => {
    fc.assert(
      fc.property(encodings, (encoding) => {
        const original = reencode(sample, encoding);
        const before = layoutOf(original);
        const grown = joinChunks(
          splice(before, {
            appendToGraph: [relu],
            appendToModel: [bytesField(modelFields.metadataProps, new Uint8Array())],
          }),
        );
        expect(nodeNames(grown)).toEqual(["Transpose", "Add", "Relu"]);

        const after = layoutOf(grown);
        const added = [after.graph.at(-1), after.model.at(-1)];
        const back = splice(after, {
          replace: new Map(added.flatMap((record) => (record ? [[record, null] as const] : []))),
          graphLengthWidth: before.graphLengthWidth,
        });
        expect(joinChunks(back)).toEqual(original);
      }),
      { numRuns: 200, seed: 3 },
    );
  });

  it("replaces a record where it stands and shares all other bytes", () => {
    const layout = layoutOf(sample);
    const add = layout.graph.filter(({ field }) => field === graphFields.node)[1];
    if (!add) throw new Error("no node");
    const chunks = splice(layout, { replace: new Map([[add, relu]]) }).map(chunkBytes);
    expect(nodeNames(concatBytes(chunks))).toEqual(["Transpose", "Relu"]);
    const own = chunks
      .filter(({ buffer }) => buffer !== sample.buffer)
      .reduce((size, { length }) => size + length, 0);
    expect(own).toBeLessThan(relu.length + 6);
    expect(sample).toEqual(encodeModelProto(decodeModelProto(sample)));
  });

  it("changes nothing without edits", () => {
    fc.assert(
      fc.property(encodings, (encoding) => {
        const bytes = reencode(sample, encoding);
        expect(joinChunks(splice(layoutOf(bytes), {}))).toEqual(bytes);
      }),
      { numRuns: 50, seed: 4 },
    );
  });

  it("refuses a graph in two parts", () => {
    const { graphField } = layoutOf(sample);
    const twice = concatBytes([sample, sample.slice(graphField.start, graphField.end)]);
    expect(() => layoutOf(twice)).toThrow(/its graph in 2 parts.*load and save it/);
  });

  it("says where a damaged file breaks, and never reads past its end", () => {
    for (let length = 1; length < sample.length; length += 7) {
      const cut = sample.subarray(0, length);
      try {
        layoutOf(cut);
      } catch (error) {
        expect(String(error)).toMatch(/truncated one \(damaged at byte \d+\)|has no graph/);
      }
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          for (const record of fieldRecords(bytes)) expect(record.end).toBeLessThanOrEqual(bytes.length);
        } catch (error) {
          expect(String(error)).toMatch(/damaged at byte/);
        }
      }),
      { numRuns: 500, seed: 5 },
    );
  });
});

describe("varint", () => {
  it("pads to a width", () => {
    expect([...varint(300)]).toEqual([0xac, 0x02]);
    expect([...varint(300, 4)]).toEqual([0xac, 0x82, 0x80, 0x00]);
    expect([...varint(2 ** 31 - 1, 1)]).toEqual([0xff, 0xff, 0xff, 0xff, 0x07]);
  });
});
