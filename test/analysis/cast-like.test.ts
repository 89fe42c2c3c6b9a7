import { expect, test } from "vitest";
import { inferShapes } from "../../src/analysis/infer.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

test("a Range between numbers behind CastLike, as torch.onnx writes arange with optimize=False, has its length", async () => {
  const b = new GraphBuilder();
  const x = b.input("x", ["N", "T"], "int64");
  const int = (name: string, dims: readonly number[], value: number) =>
    b.graph.addInitializer(Tensor.int64(name, dims, [value]));
  const length = b.op("Gather", [b.op("Shape", [x], "shape"), int("one", [], 1)], "length");
  const like = (name: string, value: number) =>
    b.op("CastLike", [b.graph.addInitializer(Tensor.float(`${name}.f`, [], [value])), length], name);
  const range = b.op("Range", [like("start", 0), length, like("step", 1)], "places");
  b.output(b.op("Unsqueeze", [range, int("zero", [1], 0)], "y"));
  expect((await inferShapes(b.graph, nodeProbe, { batch: 2, dims: { T: 5 } })).unknown).toEqual([]);
  expect(b.graph.valueNamed("y")).toMatchObject({ shape: [1, 5], freeAxes: [1], type: "int64" });
});
