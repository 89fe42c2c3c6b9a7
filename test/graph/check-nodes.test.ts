import { expect, test } from "vitest";
import { graphOf } from "../../src/graph/model-graph.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { Model } from "../../src/onnx/model.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

// What ends the process of ONNX Runtime while it reads a model is refused when a file is read.

const reread = (b: GraphBuilder) => graphOf(Model.fromProto(graphToProto(b.graph, { irVersion: 10 })));

test.each(["Conv", "ConvTranspose"])("%s: a group of 0", (op) => {
  const withGroup = (group: number) => {
    const b = new GraphBuilder(18);
    const inputs = [b.input("x", [1, 2, 4, 4]), b.weight("w", [2, 2, 3, 3])];
    return reread(b.output(b.op(op, inputs, "y", { group })) && b);
  };
  expect(() => withGroup(0)).toThrow(`${op} "y" has the group 0, which must be 1 or more`);
  expect(() => withGroup(-1)).toThrow("has the group -1");
  expect(withGroup(1).nodes).toHaveLength(1);
});

test("GatherBlockQuantized: blocks of 0 numbers, also as another type", () => {
  const withBlocks = (block_size: number | { kind: "string"; value: string }) => {
    const b = new GraphBuilder(21, { "com.microsoft": 1 });
    const inputs = ["data", "indices", "scales"].map((name) => b.input(name, [2, 2]));
    b.output(b.op("GatherBlockQuantized", inputs, "y", { block_size }, "com.microsoft"));
    return reread(b);
  };
  expect(() => withBlocks(0)).toThrow('GatherBlockQuantized "y" has the block_size 0');
  expect(() => withBlocks({ kind: "string", value: "4" })).toThrow("has the block_size 0");
  expect(withBlocks(32).nodes).toHaveLength(1);
});

test("Split: another number of outputs than it states", () => {
  const stating = (num_outputs: number) => {
    const b = new GraphBuilder(18);
    for (const part of b.many("Split", [b.input("x", [4])], ["y", "z"], { num_outputs }))
      if (part) b.output(part);
    return reread(b);
  };
  expect(() => stating(3)).toThrow('Split "y" states 3 outputs (num_outputs) and has 2');
  expect(stating(2).nodes).toHaveLength(1);
});
