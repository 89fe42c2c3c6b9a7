import { SorthError } from "../../errors.ts";
import { int, string } from "../../graph/attribute.ts";
import { allAxes, dimAt, normalizeAxis } from "../../graph/shapes.ts";
import { checkStored } from "../../graph/stored-lists.ts";
import type { RuleTable } from "../rule.ts";
import { indexing } from "./indexing.ts";
import { padding } from "./padding.ts";
import { rearrangement } from "./rearrangement.ts";
import { rotaryGradients } from "./rotary-embedding.ts";
import { sampling } from "./sampling.ts";

const positions = { shape: [2, 3], constant: [0, 4, 2, 1, 1, 3] };
const tables = [
  [5, 2],
  [5, 2],
];

/** Operators of com.microsoft that fuse nothing: exporters use them where the standard lacked (or lacks) an operator. */
export const contributedOperators = {
  // ONNX's RotaryEmbedding with positions as input 1: one per token, or only the first token's
  "com.microsoft.RotaryEmbedding": {
    vjp: (context, dy, g) => {
      const { node } = context;
      const [x, given, cosines] = [context.input(0), context.input(1), context.input(2)];
      if (node.flag("is_packed_batching")) {
        throw new SorthError(
          `cannot differentiate ${node.op} (node "${node.label}"): its batch packs samples of different lengths`,
        );
      }
      const length = dimAt(x.shape, -2);
      const following = () => g.add(g.cast(given, "int32"), g.reshape(g.iota(length), [1, length]));
      return rotaryGradients(context, dy, g, {
        cosines: 2,
        sines: 3,
        positions: given.shape.length === 1 ? following() : given,
        // Without num_heads, the table rotates whole heads, so its width gives their number.
        heads: node.int("num_heads", 0) || dimAt(x.shape, -1) / (2 * dimAt(cosines.shape, -1)),
      });
    },
    samples: [
      { inputs: [[2, 2, 3, 4], positions, ...tables] },
      { inputs: [[2, 3, 8], positions, ...tables], attributes: { interleaved: int(1) }, note: "3-D" },
      {
        inputs: [[2, 3, 8], positions, [5, 1], [5, 1]],
        attributes: { rotary_embedding_dim: int(2), num_heads: int(2) },
        note: "a part of each head",
      },
      { inputs: [[2, 2, 3, 4], { shape: [1], constant: [1] }, ...tables], note: "first position" },
    ],
  },

  // Y = X⁻¹: dX = −Yᵀ·dY·Yᵀ
  "com.microsoft.Inverse": {
    vjp: (context, dy, g) => [
      () => {
        const transposed = g.transposeLast(context.output(0));
        return g.neg(g.matMul(g.matMul(transposed, dy), transposed));
      },
    ],
    samples: [
      { inputs: [{ shape: [2, 2], range: [1, 5], distinct: true }] },
      { inputs: [[3, 2, 2]], range: [0.5, 3], note: "batch" },
    ],
  },

  // C = |a − b|² or |a − b| for all pairs of rows; with w = 2dC or dC/C (0 at 0), dA = Σw·A − w·B and dB = Σw·B − wᵀ·A
  "com.microsoft.CDist": {
    vjp: (context, dy, g) => {
      const [a, b, c] = [context.input(0), context.input(1), context.output(0)];
      const euclidean = context.node.string("metric", "sqeuclidean") === "euclidean";
      const weights = () =>
        g.once(`weights of ${dy.name}`, () => {
          if (!euclidean) return g.add(dy, dy);
          const zero = g.equal(c, 0);
          return g.where(zero, 0, g.div(dy, g.where(zero, 1, c)));
        });
      return [
        () => g.sub(g.mul(g.reduceSum(weights(), [1], true), a), g.gemm(weights(), b)),
        () => {
          const sums = g.reshape(g.reduceSum(weights(), [0]), [dimAt(b.shape, 0), 1]);
          return g.sub(g.mul(sums, b), g.gemm(weights(), a, { transA: true }));
        },
      ];
    },
    samples: [
      {
        inputs: [
          [3, 2],
          [4, 2],
        ],
      },
      {
        inputs: [
          [3, 2],
          [4, 2],
        ],
        attributes: { metric: string("euclidean") },
      },
    ],
  },

  "com.microsoft.ExpandDims": {
    vjp: (context, dy, g) => [() => g.reshape(dy, context.input(0).shape), null],
    samples: [{ inputs: [[2, 3], { shape: [], constant: [1], type: "int32" }] }],
    linear: true,
  },

  // Predecessors of ONNX's own operators of the same names, with the same behavior.
  "com.microsoft.GatherND": {
    vjp: indexing.GatherND.vjp,
    samples: [{ inputs: [[3, 4], { shape: [2, 1], constant: [2, 2] }] }],
  },
  "com.microsoft.GridSample": {
    vjp: sampling.GridSample.vjp,
    samples: [
      { inputs: [[1, 2, 3, 4], { shape: [1, 2, 2, 2], range: [-0.6, -0.4] }] },
      {
        inputs: [[1, 1, 4, 4], { shape: [1, 2, 2, 2], range: [0.4, 0.6] }],
        attributes: { mode: string("bicubic"), align_corners: int(1), padding_mode: string("border") },
      },
    ],
  },
  "com.microsoft.Pad": {
    vjp: padding.Pad.vjp,
    samples: [
      { inputs: [[2, 3], { shape: [4], constant: [0, 1, 1, 0] }] },
      {
        inputs: [[2, 3], { shape: [4], constant: [1, 0, 0, 2] }],
        attributes: { mode: string("reflect") },
      },
    ],
  },
  "com.microsoft.Trilu": {
    vjp: rearrangement.Trilu.vjp,
    samples: [
      { inputs: [[2, 3, 3]] },
      { inputs: [[3, 4], { shape: [], constant: [1] }], attributes: { upper: int(0) } },
    ],
  },

  // Copies windows of one axis along a new last axis: each window's gradient is added where the window was read
  "com.microsoft.UnfoldTensor": {
    vjp: (context, dy, g) => {
      const { node } = context;
      const { shape } = context.input(0);
      const axis = normalizeAxis(node.int("dim", -1), shape.length);
      const [size, step] = [node.int("size", 1), node.int("step", 1)];
      const windows = dimAt(dy.shape, axis);
      return [
        () => {
          // Put windows and their elements first: a list of slices, each of which belongs to one position.
          const others = allAxes(shape.length).filter((other) => other !== axis);
          const rest = others.map((other) => dimAt(shape, other));
          const slices = g.reshape(g.transpose(dy, [axis, shape.length, ...others]), [
            windows * size,
            ...rest,
          ]);
          checkStored(windows * size);
          const read = allAxes(windows * size).map((i) => Math.floor(i / size) * step + (i % size));
          const indices = g.reshape(g.int64s(read), [windows * size, 1]);
          const added = g.scatterAdd(g.filled(0, [dimAt(shape, axis), ...rest], dy.type), indices, slices);
          return g.transpose(
            added,
            allAxes(shape.length).map((other) => (other === axis ? 0 : 1 + others.indexOf(other))),
          );
        },
      ];
    },
    samples: [
      { inputs: [[2, 5]], attributes: { dim: int(1), size: int(3), step: int(1) } },
      { inputs: [[5, 2, 3]], attributes: { dim: int(0), size: int(2), step: int(2) } },
      { inputs: [[2, 6, 2]], attributes: { dim: int(-2), size: int(3), step: int(2) } },
    ],
    linear: true,
  },
} satisfies RuleTable;
