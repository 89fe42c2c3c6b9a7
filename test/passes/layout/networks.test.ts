import { expect, test } from "vitest";
import type { Graph } from "../../../src/graph/graph.ts";
import type { Value } from "../../../src/graph/node.ts";
import { GraphBuilder } from "../../helpers/build-graph.ts";
import { maxAbs, relativeError } from "../../helpers/numbers.ts";
import { numbersOf } from "./both-layouts.ts";

const normalized = (b: GraphBuilder, x: Value, name: string, channels: number): Value => {
  const parameters = ["scale", "bias", "mean", "variance"].map((part) =>
    b.input(`${name}.${part}`, [channels]),
  );
  const outputs = [name, `${name}.m`, `${name}.v`];
  return b.many("BatchNormalization", [x, ...parameters], outputs, { training_mode: 1 })[0] as Value;
};
const padded = { pads: [1, 1, 1, 1] };

/** Each network, and the operators that are left in it on rows. */
const networks: Readonly<Record<string, { build: () => Graph; wrt: string[]; left: string[] }>> = {
  "residual block with batch statistics": {
    build: () => {
      const b = new GraphBuilder();
      const x = b.op("Relu", [b.input("x", [3, 4, 6, 6])], "start");
      const c1 = b.op("Conv", [x, b.input("w1", [5, 4, 3, 3])], "c1", { ...padded, strides: [2, 2] });
      const r = b.op("Relu", [normalized(b, c1, "n1", 5)], "r");
      const c2 = normalized(b, b.op("Conv", [r, b.input("w2", [5, 5, 3, 3])], "c2", padded), "n2", 5);
      const down = b.op("Conv", [x, b.input("w3", [5, 4, 1, 1])], "down", { strides: [2, 2] });
      const sum = b.op("Relu", [b.op("Add", [c2, normalized(b, down, "n3", 5)], "sum")], "r2");
      return b.output(b.op("Flatten", [b.op("GlobalAveragePool", [sum], "pool")], "y"));
    },
    wrt: ["x", "w1", "w2", "w3", "n1.scale", "n1.bias", "n2.scale", "n3.bias"],
    left: ["Flatten"],
  },
  "squeeze and excite, mean over axes, scale by channel": {
    build: () => {
      const b = new GraphBuilder();
      const c = b.op(
        "Conv",
        [b.input("x", [3, 4, 3, 2]), b.input("w1", [6, 4, 1, 1]), b.input("b1", [6])],
        "c",
      );
      const h = b.op("Mul", [c, b.op("Sigmoid", [c], "s")], "silu");
      const pooled = b.op("ReduceMean", [h, b.int64("axes", [2, 3])], "pooled");
      const e = b.op("Relu", [b.op("Conv", [pooled, b.input("w2", [2, 6, 1, 1])], "e1")], "e");
      const gate = b.op(
        "Sigmoid",
        [b.op("Conv", [e, b.input("w3", [6, 2, 1, 1]), b.input("b3", [6])], "e2")],
        "gate",
      );
      const excited = b.op("Mul", [gate, h], "excited");
      const scaled = b.op("Mul", [excited, b.input("gamma", [6, 1, 1])], "scaled");
      const shifted = b.op("Add", [scaled, b.input("beta", [1, 6, 1, 1])], "shifted");
      const halved = b.op("Div", [shifted, b.input("two", [1, 1, 1, 1])], "halved");
      return b.output(b.op("ReduceMean", [halved, b.int64("last", [-2, -1])], "y", { keepdims: 0 }));
    },
    wrt: ["x", "w1", "b1", "w2", "w3", "b3", "gamma", "beta"],
    left: [],
  },
  "dense connections beside a grouped convolution and a pool": {
    build: () => {
      const b = new GraphBuilder();
      const c1 = b.op("Conv", [b.input("x", [2, 4, 4, 4]), b.input("w1", [4, 4, 1, 1])], "c1");
      const grouped = b.op("Conv", [c1, b.input("w2", [4, 1, 3, 3])], "grouped", { ...padded, group: 4 });
      const joined = b.op("Concat", [c1, grouped, c1], "joined", { axis: 1 });
      const pool = b.op("MaxPool", [joined], "pool", { kernel_shape: [2, 2], strides: [2, 2] });
      const c3 = b.op("Conv", [pool, b.input("w3", [3, 12, 3, 3])], "c3", padded);
      return b.output(b.op("Tanh", [b.op("Clip", [c3], "clipped")], "y"));
    },
    wrt: ["x", "w1", "w2", "w3"],
    left: ["Conv", "MaxPool", "Tanh"],
  },
  "normalization over channels between transposes, with a residual": {
    build: () => {
      const b = new GraphBuilder();
      const x = b.input("x", [2, 4, 3, 3]);
      const depth = b.op("Conv", [x, b.input("w1", [4, 1, 3, 3])], "depth", { ...padded, group: 4 });
      const last = b.op("Transpose", [depth], "last", { perm: [0, 2, 3, 1] });
      const n = b.op("LayerNormalization", [last, b.input("scale", [4]), b.input("shift", [4])], "n");
      const first = b.op("Transpose", [n], "first", { perm: [0, 3, 1, 2] });
      const up = b.op("Conv", [first, b.input("w2", [6, 4, 1, 1])], "up");
      const down = b.op("Conv", [b.op("Erf", [up], "act"), b.input("w3", [4, 6, 1, 1])], "down");
      const sum = b.op("Add", [b.op("Mul", [down, b.input("gamma", [1, 4, 1, 1])], "scaled"), x], "sum");
      return b.output(b.op("Neg", [sum], "y"));
    },
    wrt: ["x", "w1", "w2", "w3", "scale", "shift", "gamma"],
    left: ["Conv", "LayerNormalization", "Neg"],
  },
  "one sample, a kernel that the graph computes, and a mask by position": {
    build: () => {
      const b = new GraphBuilder();
      const kernel = b.op("Mul", [b.input("w1", [3, 2, 3, 3]), b.input("norm", [3, 1, 1, 1])], "kernel");
      const c = b.op("Conv", [b.input("x", [1, 2, 4, 4]), kernel], "c");
      const gate = b.op("Sigmoid", [b.op("GlobalAveragePool", [c], "pool")], "gate");
      const masked = b.op("Mul", [b.op("Mul", [c, gate], "gated"), b.input("mask", [1, 1, 2, 2])], "masked");
      return b.output(b.op("Neg", [b.op("Abs", [masked], "abs")], "y"));
    },
    wrt: ["x", "w1", "norm", "mask"],
    left: ["Mul", "Mul", "Abs", "Neg"],
  },
};

test.each(Object.entries(networks))("%s: the same numbers and gradients", async (_, { build, wrt, left }) => {
  const [images, rows] = await Promise.all([false, true].map((onRows) => numbersOf(build, { onRows, wrt })));
  const added = new Set(["Transpose", "Reshape", "Pad", "Gemm"]);
  const image = /^(Conv|MaxPool|Flatten|LayerNormalization|Neg|Tanh)$/;
  expect(
    rows?.ops.filter((op) => image.test(op)),
    rows?.detail,
  ).toEqual(left.filter((op) => image.test(op)));
  expect(rows?.ops.some((op) => added.has(op))).toBe(true);
  expect(Object.keys(rows?.numbers ?? {})).toEqual(["y", ...wrt.map((name) => `${name}_grad`)]);
  for (const [name, expected] of Object.entries(images?.numbers ?? {})) {
    const found = rows?.numbers[name] ?? [];
    // A sum that cancels to nothing is as exact as its terms.
    const most = 5e-6 * Math.max(1, 1 / maxAbs(expected));
    expect(relativeError(found, expected), name).toBeLessThan(most);
  }
});

test("a depthwise convolution lies between rows where ONNX Runtime has blocks of channels, and only there", async () => {
  const build = () => {
    const b = new GraphBuilder();
    const wide = b.op("Conv", [b.input("x", [2, 4, 5, 4]), b.input("w1", [8, 4, 1, 1])], "wide");
    const depth = b.op(
      "Conv",
      [b.op("Tanh", [wide], "t"), b.input("w2", [8, 1, 3, 3]), b.input("b2", [8])],
      "depth",
      {
        ...{ ...padded, group: 8, strides: [2, 1] },
      },
    );
    return b.output(b.op("Sin", [b.op("Conv", [depth, b.input("w3", [3, 8, 1, 1])], "narrow")], "y"));
  };
  const wrt = ["x", "w1", "w2", "b2", "w3"];
  const [images, without, within] = await Promise.all(
    [{ onRows: false }, { onRows: true }, { onRows: true, block: 8 }].map((how) =>
      numbersOf(build, { ...how, wrt }),
    ),
  );
  for (const rows of [without, within]) {
    for (const [name, expected] of Object.entries(images?.numbers ?? {})) {
      expect(relativeError(rows?.numbers[name] ?? [], expected), name).toBeLessThan(5e-6);
    }
  }
  expect([without, within].map((rows) => rows?.detail)).toEqual([
    "2 nodes on rows, 2 of them convolutions",
    "4 nodes on rows, 3 of them convolutions",
  ]);
});
