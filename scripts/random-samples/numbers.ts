import type { Sample, SampleInput } from "../../src/autodiff/rule.ts";
import { float, int, string } from "../../src/graph/attribute.ts";
import { constant, type Draw, distinct, vector, within } from "./draw.ts";

type Maker = (draw: Draw) => Sample;

const named = (names: readonly string[], make: (name: string) => Maker): Record<string, Maker> =>
  Object.fromEntries(names.map((name) => [name, make(name)]));

/** A range of numbers in which an operator has a slope. */
const steady: Readonly<Record<string, readonly [number, number]>> = {
  ...{ Div: [0.5, 2], Pow: [0.5, 2], ReduceL1: [0.2, 1.5], ReduceL2: [0.2, 1.5] },
  ...{ ReduceLogSum: [0.2, 1.5], ReduceProd: [0.2, 1.5] },
};

function operand(op: string, shape: number[]): SampleInput {
  if (/Max|Min/.test(op)) return distinct(shape);
  const range = steady[op];
  return range ? within(shape, ...range) : shape;
}

const binary =
  (op: string): Maker =>
  (draw) => ({ inputs: draw.broadcast().map((shape) => operand(op, shape)) });

const reduction =
  (op: string): Maker =>
  (draw) => {
    const shape = draw.shape(draw.below(6));
    const axes = draw.axes(shape.length, 0).map((axis) => draw.named(axis, shape.length));
    return {
      inputs: [operand(op, shape), ...(axes.length > 0 || draw.once(2) ? [vector(axes)] : [])],
      attributes: { keepdims: int(draw.below(2)), noop_with_empty_axes: int(draw.once(3) ? 1 : 0) },
    };
  };

function einsum(draw: Draw): Sample {
  const letters = [..."abcdef"].slice(0, draw.between(1, 6));
  const sizes = new Map(letters.map((letter) => [letter, draw.between(1, 4)]));
  const terms = draw.list(draw.between(1, 3), () =>
    draw.shuffled(letters).slice(0, draw.between(1, Math.min(4, letters.length))),
  );
  const present = [...new Set(terms.flat())];
  const result = draw.shuffled(present).slice(0, draw.below(present.length + 1));
  const equation = `${terms.map((term) => term.join("")).join(",")}->${result.join("")}`;
  return {
    inputs: terms.map((term) => term.map((letter) => sizes.get(letter) ?? 1)),
    attributes: { equation: string(equation) },
  };
}

function gemm(draw: Draw): Sample {
  const [m, k, n] = draw.shape(3, 1, 5) as [number, number, number];
  const [transA, transB] = [draw.below(2), draw.below(2)];
  const added = draw.pick([undefined, [m, n], [n], [1, n], [m, 1], [1], []]);
  return {
    inputs: [transA ? [k, m] : [m, k], transB ? [n, k] : [k, n], ...(added ? [added] : [])],
    attributes: {
      ...{ transA: int(transA), transB: int(transB) },
      ...{ alpha: float(draw.pick([1, 0.5, -2])), beta: float(draw.pick([1, 0.25, 0])) },
    },
  };
}

const normalization =
  (more: (draw: Draw, shape: readonly number[]) => SampleInput[], opset = 18): Maker =>
  (draw) => {
    const shape = draw.shape(draw.between(1, 4), 2, 5);
    const axis = draw.below(shape.length);
    return {
      inputs: [shape, ...more(draw, shape.slice(axis))],
      attributes: { axis: int(draw.named(axis, shape.length)), epsilon: float(0.1) },
      opset,
    };
  };

const recurrent =
  (op: "RNN" | "GRU" | "LSTM", gates: number): Maker =>
  (draw) => {
    const [steps, samples, width, units] = draw.shape(4, 1, 3) as [number, number, number, number];
    const direction = draw.pick(["forward", "reverse", "bidirectional"]);
    const directions = direction === "bidirectional" ? 2 : 1;
    const state = () => (draw.once(2) ? [directions, samples, units] : null);
    const functions = {
      RNN: ["Sigmoid"],
      GRU: ["Sigmoid", "Softsign"],
      LSTM: ["Sigmoid", "Softsign", "Tanh"],
    };
    const lengths = draw.once(2)
      ? vector(
          draw.list(samples, () => draw.between(1, steps)),
          "int32",
        )
      : null;
    return {
      inputs: [
        [steps, samples, width],
        [directions, gates * units, width],
        [directions, gates * units, units],
        draw.once(2) ? [directions, 2 * gates * units] : null,
        ...[lengths, state()],
        ...(op === "LSTM" ? [state(), draw.once(2) ? [directions, 3 * units] : null] : []),
      ],
      attributes: {
        ...{ hidden_size: int(units), direction: string(direction) },
        ...(draw.once(3) && {
          activations: { kind: "strings", value: draw.list(directions, () => functions[op]).flat() } as const,
        }),
        ...(op === "GRU" && { linear_before_reset: int(draw.below(2)) }),
      },
      outputs: op === "LSTM" ? 3 : 2,
      floatOnly: "ONNX Runtime computes recurrent operators in float alone",
    };
  };

function attention(draw: Draw): Sample {
  const [samples, shared, rows, keys] = [
    draw.between(1, 2),
    draw.between(1, 2),
    draw.between(1, 4),
    draw.between(1, 4),
  ];
  const heads = shared * draw.between(1, 2);
  const [width, values] = [draw.pick([2, 4]), draw.pick([2, 3])];
  const flat = draw.once(2);
  const past = draw.once(4) ? draw.between(1, 3) : 0;
  const total = past + keys;
  const mask = draw.pick([null, null, [rows, total], [samples, 1, rows, total], [1, heads, rows, total]]);
  const tensor = (count: number, length: number, size: number) =>
    flat ? [samples, length, count * size] : [samples, count, length, size];
  return {
    inputs: [
      ...[tensor(heads, rows, width), tensor(shared, keys, width), tensor(shared, keys, values), mask],
      ...(past > 0
        ? [
            [samples, shared, past, width],
            [samples, shared, past, values],
          ]
        : []),
    ],
    attributes: {
      ...(flat && { q_num_heads: int(heads), kv_num_heads: int(shared) }),
      is_causal: int(mask ? 0 : draw.below(2)),
      ...(draw.once(2) && { scale: float(0.3) }),
      ...(draw.once(3) && { softcap: float(2) }),
    },
    outputs: past > 0 ? 3 : 1,
    opset: 23,
  };
}

/** Samples of operators that compute numbers. */
export const numbers: Readonly<Record<string, Maker>> = {
  ...named(["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean"], binary),
  ...named(
    ["Sum", "Mean", "Max", "Min", "SumSquare", "L1", "L2", "LogSum", "LogSumExp", "Prod"].map(
      (name) => `Reduce${name}`,
    ),
    reduction,
  ),
  ...named(["Softmax", "LogSoftmax"], () => (draw) => {
    const shape = draw.shape(draw.between(1, 4));
    return { inputs: [shape], attributes: { axis: int(draw.between(-shape.length, shape.length - 1)) } };
  }),
  Where: (draw) => {
    const [a, b] = draw.broadcast();
    return { inputs: [constant([1], [draw.below(2)], "bool"), a, b] };
  },
  Einsum: einsum,
  Gemm: gemm,
  MatMul: (draw) => {
    const [a, b] = draw.broadcast(draw.below(4));
    const [m, k, n] = draw.shape(3) as [number, number, number];
    return { inputs: [draw.once(6) ? [k] : [...a, m, k], draw.once(6) ? [k] : [...b, k, n]] };
  },
  LayerNormalization: normalization((draw, shape) => [shape, ...(draw.once(2) ? [shape] : [])]),
  RMSNormalization: normalization((_, shape) => [shape], 23),
  GroupNormalization: (draw) => {
    const [groups, each] = [draw.between(1, 4), draw.between(1, 3)];
    const channels = [groups * each];
    return {
      inputs: [[draw.between(1, 3), ...channels, ...draw.shape(draw.between(1, 3))], channels, channels],
      attributes: { num_groups: int(groups), epsilon: float(0.1) },
      opset: 21,
      floatOnly: "it computes in float32 (stash_type)",
    };
  },
  RNN: recurrent("RNN", 1),
  GRU: recurrent("GRU", 3),
  LSTM: recurrent("LSTM", 4),
  Attention: attention,
};
