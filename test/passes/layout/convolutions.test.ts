import { expect, test } from "vitest";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { relativeError } from "../../helpers/numbers.ts";
import { fed, numbersOf } from "./both-layouts.ts";

interface Case {
  readonly x: readonly number[];
  readonly w: readonly number[];
  readonly attributes?: Readonly<Record<string, number | string | readonly number[]>>;
  readonly bias?: boolean;
  readonly note?: string;
}

/** Convolutions without groups: 1-D to 3-D, each attribute. */
const cases: readonly Case[] = [
  { x: [2, 3, 5, 4], w: [4, 3, 1, 1] },
  { x: [2, 3, 5, 4], w: [4, 3, 1, 1], bias: true, attributes: { strides: [2, 2] } },
  { x: [2, 3, 5, 4], w: [4, 3, 3, 3], bias: true },
  { x: [2, 3, 5, 4], w: [4, 3, 3, 3], attributes: { pads: [1, 1, 1, 1] } },
  { x: [2, 3, 8, 8], w: [4, 3, 3, 3], attributes: { pads: [1, 1, 1, 1], strides: [2, 2] } },
  { x: [2, 3, 7, 6], w: [4, 3, 3, 3], attributes: { pads: [1, 1, 1, 1], strides: [2, 2] } },
  { x: [1, 2, 6, 7], w: [3, 2, 3, 2], attributes: { pads: [2, 0, 1, 1], strides: [3, 2] } },
  { x: [2, 2, 9, 9], w: [3, 2, 5, 5], attributes: { pads: [2, 2, 2, 2] } },
  { x: [2, 3, 12, 12], w: [2, 3, 7, 7], attributes: { pads: [3, 3, 3, 3], strides: [2, 2] } },
  { x: [2, 2, 9, 8], w: [3, 2, 3, 3], attributes: { dilations: [2, 3], pads: [2, 3, 2, 3] } },
  {
    x: [2, 2, 9, 8],
    w: [3, 2, 3, 2],
    attributes: { dilations: [2, 1], strides: [2, 3], pads: [0, 1, 3, 0] },
  },
  { x: [2, 2, 8, 7], w: [3, 2, 4, 4], attributes: { auto_pad: "SAME_UPPER", strides: [2, 2] } },
  { x: [2, 2, 8, 7], w: [3, 2, 4, 4], attributes: { auto_pad: "SAME_LOWER" } },
  {
    x: [2, 2, 8, 7],
    w: [3, 2, 2, 2],
    attributes: { auto_pad: "VALID", strides: [3, 3] },
    note: "elements unread",
  },
  {
    x: [2, 2, 2, 2],
    w: [3, 2, 3, 3],
    attributes: { pads: [1, 1, 1, 1] },
    note: "kernel wider than the image",
  },
  { x: [2, 2, 1, 1], w: [3, 2, 3, 3], attributes: { pads: [1, 1, 1, 1] }, note: "one position" },
  { x: [2, 3, 6], w: [4, 3, 3], attributes: { pads: [1, 1], strides: [2] }, bias: true, note: "1-D" },
  {
    x: [2, 2, 4, 3, 5],
    w: [3, 2, 3, 1, 2],
    attributes: { pads: [1, 0, 1, 1, 0, 0], strides: [1, 1, 2] },
    note: "3-D",
  },
];

const title = ({ x, w, attributes = {}, bias, note }: Case) =>
  `${x.join("×")} by ${w.join("×")} ${JSON.stringify(attributes)}${bias ? " with bias" : ""}${note ? ` (${note})` : ""}`;

const graphOf = ({ x, w, attributes = {}, bias }: Case) => {
  const b = new GraphBuilder();
  const inputs = [b.input("x", x), b.input("w", w), ...(bias ? [b.input("b", [w[0] ?? 0])] : [])];
  // Outputs stay images, so that the convolution is an inner node.
  return b.output(b.op("Neg", [b.op("Conv", inputs, "c", attributes)], "y"));
};

/** −Conv and its gradients by definition, in float64: every product is visited once. */
function byDefinition(given: Case, output: readonly number[]): Record<string, number[]> {
  const { x, w, attributes = {}, bias } = given;
  const rank = x.length - 2;
  const list = (name: string, fallback: number) =>
    (attributes[name] as readonly number[] | undefined) ?? Array<number>(rank).fill(fallback);
  const [strides, dilations] = [list("strides", 1), list("dilations", 1)];
  const space = output.slice(2);
  const begin = space.map((windows, axis) => {
    const span =
      ((windows ?? 0) - 1) * (strides[axis] ?? 1) + ((w[axis + 2] ?? 0) - 1) * (dilations[axis] ?? 1) + 1;
    const total = Math.max(0, span - (x[axis + 2] ?? 0));
    if (attributes.auto_pad === "SAME_UPPER") return Math.floor(total / 2);
    if (attributes.auto_pad === "SAME_LOWER") return Math.ceil(total / 2);
    return list("pads", 0)[axis] ?? 0;
  });
  const every = (shape: readonly number[]): number[][] =>
    shape.reduce<number[][]>(
      (all, n) => all.flatMap((at) => Array.from({ length: n }, (_, i) => [...at, i])),
      [[]],
    );
  const offset = (shape: readonly number[], at: readonly number[]) =>
    shape.reduce((sum, n, axis) => sum * n + (at[axis] ?? 0), 0);
  const [xs, ws, direction] = [
    fed("x", x, "double"),
    fed("w", w, "double"),
    fed("direction", output, "double"),
  ].map((tensor) => tensor.numbers()) as [number[], number[], number[]];
  const zeros = (shape: readonly number[]) => new Array<number>(shape.reduce((a, n) => a * n, 1)).fill(0);
  const result = {
    y: zeros(output),
    x_grad: zeros(x),
    w_grad: zeros(w),
    ...(bias && { b_grad: zeros([w[0] ?? 0]) }),
  };
  const biases = bias ? fed("b", [w[0] ?? 0], "double").numbers() : undefined;
  for (const at of every(output)) {
    const [sample = 0, unit = 0, ...window] = at;
    const place = offset(output, at);
    const slope = -(direction[place] ?? 0);
    if (result.b_grad) result.b_grad[unit] = (result.b_grad[unit] ?? 0) + slope;
    let sum = biases?.[unit] ?? 0;
    for (const tap of every(w.slice(1))) {
      const [channel = 0, ...kernel] = tap;
      const read = window.map(
        (o, i) => o * (strides[i] ?? 1) - (begin[i] ?? 0) + (kernel[i] ?? 0) * (dilations[i] ?? 1),
      );
      if (read.some((position, i) => position < 0 || position >= (x[i + 2] ?? 0))) continue;
      const [from, by] = [offset(x, [sample, channel, ...read]), offset(w, [unit, ...tap])];
      sum += (xs[from] ?? 0) * (ws[by] ?? 0);
      result.x_grad[from] = (result.x_grad[from] ?? 0) + slope * (ws[by] ?? 0);
      result.w_grad[by] = (result.w_grad[by] ?? 0) + slope * (xs[from] ?? 0);
    }
    result.y[place] = -sum;
  }
  return result;
}

/** The shape of the output, by ONNX's rules. */
function outputShape({ x, w, attributes = {} }: Case): number[] {
  const rank = x.length - 2;
  const at = (name: string, i: number, fallback: number) =>
    (attributes[name] as readonly number[] | undefined)?.[i] ?? fallback;
  const space = x.slice(2).map((length, i) => {
    const stride = at("strides", i, 1);
    if (String(attributes.auto_pad ?? "").startsWith("SAME")) return Math.ceil(length / stride);
    const padded = length + at("pads", i, 0) + at("pads", i + rank, 0);
    return Math.floor((padded - at("dilations", i, 1) * ((w[i + 2] ?? 1) - 1) - 1) / stride) + 1;
  });
  return [x[0] ?? 0, w[0] ?? 0, ...space];
}

test.each(cases.map((given) => [title(given), given] as const))("%s", async (_, given) => {
  const wrt = ["x", "w", ...(given.bias ? ["b"] : [])];
  const expected = byDefinition(given, outputShape(given));
  for (const [type, most] of [
    ["double", 1e-12],
    ["float", 2e-6],
  ] as const) {
    const { numbers, ops } = await numbersOf(() => graphOf(given), { type, onRows: true, wrt });
    expect(ops).toContain("Gemm");
    expect(ops).not.toContain("Conv");
    expect(Object.keys(numbers)).toEqual(Object.keys(expected));
    for (const [name, values] of Object.entries(expected)) {
      expect(relativeError(numbers[name] ?? [], values), `${name}, ${type}`).toBeLessThan(most);
    }
  }
});

test("convolutions with groups stay", async () => {
  const build = () => {
    const b = new GraphBuilder();
    const c = b.op("Conv", [b.input("x", [2, 4, 5, 5]), b.input("w", [4, 2, 3, 3])], "c", { group: 2 });
    return b.output(b.op("Neg", [c], "y"));
  };
  const { ops } = await numbersOf(build, { onRows: true, wrt: ["x", "w"] });
  expect(ops).toEqual(["Conv", "Neg"]);
});
