import { describe, expect, test } from "vitest";
import { rules } from "../../src/autodiff/table.ts";
import { backward } from "../../src/autodiff/walk.ts";
import type { Attribute } from "../../src/graph/attribute.ts";
import { Emit } from "../../src/graph/emit.ts";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { isFloat } from "../../src/onnx/data-types.ts";
import { elementCount, Tensor } from "../../src/onnx/tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";

/** Numbers of an input, as a vector or in a shape; `indices` are int64, which have no gradient. */
type Input =
  | null
  | readonly number[]
  | { shape: readonly number[]; values: readonly number[] }
  | { indices: readonly number[]; shape?: readonly number[] };

interface Convention {
  readonly inputs: readonly Input[];
  readonly attributes?: Record<string, number | string | readonly number[] | Attribute>;
  /** Of each float input: the gradient of the sum of the first output. */
  readonly gradients: readonly (readonly number[])[];
  readonly opset?: number;
  readonly outputs?: number;
}

const scalar = (value: number): Input => ({ shape: [], values: [value] });
const bytesOf = (b: GraphBuilder) => encodeModelProto(graphToProto(b.graph, { irVersion: 9 }));

/** Gradients of Σ y by the float inputs. */
async function gradientsOf(op: string, { inputs, attributes, opset = 18, outputs = 1 }: Convention) {
  const b = new GraphBuilder(opset);
  const feeds = new Map<string, Tensor>();
  const values = inputs.map((input, i) => {
    if (input === null) return null;
    const name = `x${i}`;
    if ("indices" in input) {
      return b.graph.addInitializer(Tensor.int64(name, input.shape ?? [input.indices.length], input.indices));
    }
    const { shape, values } =
      "values" in input && "shape" in input ? input : { shape: [input.length], values: input };
    feeds.set(name, Tensor.float(name, shape, values));
    return b.input(name, shape);
  });
  const names = Array.from({ length: outputs }, (_, i) => `y${i}`);
  const made = b.many(op, values, names, attributes) as Value[];
  for (const output of made) b.output(output);
  const forward = await nodeProbe.run(bytesOf(b), feeds);
  for (const output of made) {
    const tensor = forward.get(output.name) as Tensor;
    output.type = tensor.type;
    output.shape = tensor.dims;
  }
  const [y] = made as [Value];
  const wrt = values.filter(
    (value): value is Value => value !== null && isFloat(value.type) && !value.initializer,
  );
  const emit = new Emit(b.graph, { prefix: "d/" });
  const seeds = [{ value: y, gradient: () => emit.filled(1, y.shape ?? []) }];
  const gradients = backward(b.graph, { wrt, seeds, rules, emit });
  b.graph.outputs.length = 0;
  const results = wrt.map((value) => {
    const gradient = gradients.get(value) ?? emit.filled(0, value.shape ?? []);
    expect(gradient.shape).toEqual(value.shape);
    return b.graph.addOutput(emit.identity(gradient));
  });
  const computed = await nodeProbe.run(bytesOf(b), feeds);
  return results.map((value, i) => {
    const numbers = computed.get(value.name)?.numbers() ?? [];
    expect(numbers).toHaveLength(elementCount(wrt[i]?.shape ?? []));
    return numbers;
  });
}

const unary = (
  x: readonly number[],
  gradient: readonly number[],
  attributes = {},
  opset = 18,
): Convention => ({
  inputs: [x],
  attributes,
  gradients: [gradient],
  opset,
});
const [inf, third] = [Number.POSITIVE_INFINITY, 1 / 3];
const first5 = { indices: [0, 0, 1, 2, 2] };

/** What PyTorch 2.15 gives (its operator is named where ONNX calls it otherwise). */
const asPyTorch: Record<string, Record<string, Convention>> = {
  Relu: { "at 0": unary([0, -0], [0, 0]) },
  LeakyRelu: { "at 0": unary([0], [0.1], { alpha: 0.1 }) },
  Elu: { "at 0": unary([0], [0.7], { alpha: 0.7 }) },
  Selu: { "at 0": unary([0], [1.7580993]) },
  Celu: { "at 0": unary([0], [1], { alpha: 0.7 }) },
  HardSwish: { "at its kinks": unary([-3, 3], [0, 1]) },
  HardSigmoid: { "at its kinks": unary([-3, 3], [0, 0], { alpha: 1 / 6 + 1e-9 }) },
  Shrink: {
    "at its kinks (hardshrink)": unary([-0.5, 0.5], [0, 0]),
    "at its kinks (softshrink)": unary([-0.5, 0.5], [0, 0], { bias: 0.5 }),
  },
  ThresholdedRelu: { "at its threshold": unary([1], [0], { alpha: 1.0000001 }) },
  PRelu: { "at 0": { inputs: [[0, -1, 2], [0.3]], gradients: [[0.3, 0.3, 1], [-1]] } },
  Softsign: { "at 0": unary([0], [1]) },
  Abs: { "at 0": unary([0, -0], [0, 0]) },
  Sqrt: { "at 0": unary([0, 4], [inf, 0.25]) },
  Sign: { everywhere: unary([0, 2], [0, 0]) },
  Max: {
    "two that tie (maximum)": {
      inputs: [
        [1, 2, 3],
        [1, 3, 2],
      ],
      gradients: [
        [0.5, 0, 1],
        [0.5, 1, 0],
      ],
    },
    "three, of which two or all tie": {
      inputs: [
        [1, 5],
        [1, 5],
        [1, 2],
      ],
      gradients: [
        [third, 0.5],
        [third, 0.5],
        [third, 0],
      ],
    },
  },
  Min: {
    "two that tie (minimum)": {
      inputs: [
        [1, 2],
        [1, 3],
      ],
      gradients: [
        [0.5, 1],
        [0.5, 0],
      ],
    },
  },
  ReduceMax: { "ties (amax)": unary([1, 2, 2, 2], [0, third, third, third]) },
  ReduceMin: { "ties (amin)": unary([1, 1, 2], [0.5, 0.5, 0]) },
  ReduceProd: {
    "one zero": unary([0, 2, 3], [6, 0, 0]),
    "two zeros": unary([0, 0, 3], [0, 0, 0]),
  },
  ReduceL1: { "at 0": unary([0, -1], [0, -1]) },
  ReduceL2: { "at the origin": unary([0, 0], [0, 0]) },
  ReduceLogSum: { "of zeros": unary([0, 0], [inf, inf]) },
  ReduceLogSumExp: { "with a masked element": unary([-inf, 1], [0, 1]) },
  CumProd: {
    zeros: {
      inputs: [[2, 0, 3, 0, 5], { indices: [0], shape: [] }],
      gradients: [[1, 8, 0, 0, 0]],
      opset: 26,
    },
  },
  Pow: {
    "bases and exponents of 0 and below": {
      inputs: [
        [0, 0, 0, 0, 2],
        [0, 1, 2, 0.5, 2],
      ],
      gradients: [
        [0, 1, 0, inf, 4],
        [0, 0, 0, 0, 2.7725887],
      ],
    },
    "integer exponents": { inputs: [[0, -2, -2, 0], { indices: [0, 2, 3, 1] }], gradients: [[0, -4, 12, 1]] },
  },
  Mod: {
    fmod: {
      inputs: [
        [5.5, -5.5, 5.5],
        [2, 2, -2],
      ],
      attributes: { fmod: 1 },
      gradients: [
        [1, 1, 1],
        [-2, 2, 2],
      ],
    },
  },
  TopK: {
    "where values tie, those that were taken": {
      inputs: [[1, 2, 2, 3], { indices: [2] }],
      outputs: 2,
      gradients: [[0, 1, 0, 1]],
    },
  },
  ScatterElements: {
    "products with zeros (scatter_reduce prod)": {
      inputs: [[1, 2, 0, 4], first5, [1, 3, 0, 2, 0]],
      attributes: { reduction: "mul" },
      gradients: [
        [3, 0, 0, 1],
        [3, 1, 2, 0, 0],
      ],
    },
    "products with more zeros (scatter_reduce prod)": {
      inputs: [[1, 0, 3, 4], first5, [2, 3, 5, 0, 0]],
      attributes: { reduction: "mul" },
      gradients: [
        [6, 5, 0, 1],
        [3, 2, 0, 0, 0],
      ],
    },
    "maxima that tie (scatter_reduce amax)": {
      inputs: [[3, 2, 0, 4], first5, [3, 3, 2, 2, 2]],
      attributes: { reduction: "max" },
      gradients: [
        [third, 0.5, 0, 1],
        [third, third, 0.5, 0.5, 0.5],
      ],
    },
    "minima that tie (scatter_reduce amin)": {
      inputs: [[1, 2, 0, 4], first5, [1, 3, 0, 2, 0]],
      attributes: { reduction: "min" },
      gradients: [
        [0.5, 0, 0.5, 1],
        [0.5, 0, 1, 0, 0.5],
      ],
    },
    "data that is overwritten (scatter)": {
      inputs: [[1, 2, 3], { indices: [2, 0] }, [5, 6]],
      gradients: [
        [0, 1, 0],
        [1, 1],
      ],
    },
  },
};

/** Where this library differs from PyTorch, and why. */
const own: Record<string, Record<string, Convention>> = {
  Clip: {
    // PyTorch 2.15 halves dy between x and a bound it touches; here, as with constant bounds before, all goes to x.
    "at its bounds": {
      inputs: [[-2, -1, 0, 1, 2], scalar(-1), scalar(1)],
      gradients: [[0, 1, 1, 1, 0], [1], [1]],
    },
    // ONNX: the upper bound wins where the bounds cross. PyTorch's forward pass agrees.
    "bounds that cross": {
      inputs: [[-2, 0, 2], scalar(1), scalar(-1)],
      gradients: [[0, 0, 0], [0], [3]],
    },
  },
  Pow: {
    // The exponent of a base below 0 has no derivative; PyTorch gives NaN, which would spread.
    "an exponent of a base below 0": {
      inputs: [
        [-2, -2],
        [2, 3],
      ],
      gradients: [
        [-4, 12],
        [0, 0],
      ],
    },
    "a base of 0, a negative exponent": { inputs: [[0], [-1]], gradients: [[-inf], [0]] },
  },
  Det: {
    // The cofactors; PyTorch divides by a determinant of 0 and gives 0.
    "a singular matrix": {
      inputs: [{ shape: [2, 2], values: [1, 2, 2, 4] }],
      gradients: [[4, -2, -2, 1]],
    },
  },
};

describe.each([
  ["as PyTorch", asPyTorch],
  ["decided here", own],
] as const)("%s", (_, conventions) => {
  describe.each(Object.entries(conventions))("%s", (op, cases) => {
    test.each(Object.entries(cases))("%s", async (_, convention) => {
      const gradients = await gradientsOf(op, convention);
      expect(gradients).toHaveLength(convention.gradients.length);
      convention.gradients.forEach((expected, i) => {
        expected.forEach((value, j) => {
          const actual = gradients[i]?.[j] ?? Number.NaN;
          if (Number.isFinite(value)) expect(actual).toBeCloseTo(value, 5);
          else expect(actual).toBe(value);
        });
      });
    });
  });
});
