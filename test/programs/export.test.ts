import { expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { Model, Tensor, withWeights } from "../../src/index.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

/** y = x · w, w: [4, 3]. */
function linear(): Model {
  const b = new GraphBuilder();
  return Model.fromProto(
    graphToProto(b.output(b.op("MatMul", [b.input("x", [2, 4]), b.weight("w", [4, 3])], "y"))),
  );
}

test.each([
  ["another shape", "w", [3, 4], 'the weight "w" is float[4, 3] in the model, not float[3, 4]'],
  ["a value that is computed", "y", [2, 3], 'the model has no weight "y"'],
  ["a name that the model does not have", "v", [4, 3], 'the model has no weight "v"'],
] as const)("weights are refused: %s", (_, name, dims, message) => {
  const tensor = Tensor.float(name, dims, new Float32Array(12).slice(0, dims[0] * dims[1]));
  expect(() => withWeights(linear(), new Map([[name, tensor]]))).toThrow(message);
});

test("a weight of another type is refused", () => {
  const tensor = Tensor.of("w", "double", [4, 3], new Float64Array(12));
  expect(() => withWeights(linear(), new Map([["w", tensor]]))).toThrow("not double[4, 3]");
});
