import { SorthError } from "../../errors.ts";
import { int, string } from "../../graph/attribute.ts";
import { dimAt } from "../../graph/shapes.ts";
import type { RuleTable } from "../rule.ts";
import { fusedOperators } from "./fused-operators.ts";
import { multiHeadAttention } from "./multi-head-attention.ts";
import { rotaryGradients } from "./rotary-embedding.ts";
import { skipNormalizations } from "./skip-normalization.ts";

const refused = (reason: string, ...names: readonly string[]): RuleTable =>
  Object.fromEntries(names.map((name) => [`com.microsoft.${name}`, { refused: reason }]));

const positions = { shape: [2, 3], constant: [0, 4, 2, 1, 1, 3] };
const tables = [
  [5, 2],
  [5, 2],
];

/** ONNX Runtime's own operators, which its optimizer and some exporters write into models. */
export const microsoft = {
  ...fusedOperators,
  ...skipNormalizations,
  ...multiHeadAttention,

  // ONNX's RotaryEmbedding with positions as input 1: by token, or that of the first one
  "com.microsoft.RotaryEmbedding": {
    vjp: (context, dy, g) => {
      const { node } = context;
      const [x, given, cosines] = [context.input(0), context.input(1), context.input(2)];
      if (node.int("is_packed_batching", 0) === 1) {
        throw new SorthError(
          `cannot differentiate ${node.op} (node "${node.label}"): samples of different lengths in one row`,
        );
      }
      const length = dimAt(x.shape, -2);
      const following = () => g.add(g.cast(given, "int32"), g.reshape(g.iota(length), [1, length]));
      return rotaryGradients(context, dy, g, {
        cosines: 2,
        sines: 3,
        positions: given.shape.length === 1 ? following() : given,
        // Without heads they follow from a table that turns whole heads.
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

  // C = |a − b|² or |a − b| of all rows: with w = 2dC or dC/C (0 at 0): dA = Σw·A − w·B, dB = Σw·B − wᵀ·A
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

  "com.microsoft.Range": { constant: "it makes constants" },
  "com.microsoft.Tokenizer": { constant: "it makes no floating-point numbers" },
  "com.microsoft.MurmurHash3": { constant: "it makes no floating-point numbers" },

  ...refused(
    "stock builds of ONNX Runtime have no CPU kernel for it; save the model without ONNX Runtime's graph optimizations",
    "BiasAdd",
    "BiasDropout",
    "BiasSoftmax",
    "BiasSplitGelu",
    "BitmaskBiasDropout",
    "BitmaskDropout",
    "ComplexMul",
    "ComplexMulConj",
    "FusedMatMulActivation",
    "GatedRelativePositionBias",
    "GemmFastGelu",
    "GroupNorm",
    "Irfft",
    "LongformerAttention",
    "NhwcConv",
    "NhwcFusedConv",
    "PackedAttention",
    "PackedMultiHeadAttention",
    "RelativePositionBias",
    "RemovePadding",
    "RestorePadding",
    "Rfft",
    "SkipGroupNorm",
  ),
  ...refused(
    "it is made for generating text with a cache of keys and values; export the model without one, or without ONNX Runtime's optimizer",
    "BeamSearch",
    "DecoderAttention",
    "DecoderMaskedMultiHeadAttention",
    "DecoderMaskedSelfAttention",
    "GreedySearch",
    "GroupQueryAttention",
    "LinearAttention",
    "PagedAttention",
    "Sampling",
    "SparseAttention",
    "WhisperBeamSearch",
  ),
  ...refused(
    "its weights or its inputs are quantized: train the float model, then quantize it",
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
    "GatherBlockQuantized",
    "MatMulBnb4",
    "MatMulFpQ4",
    "MatMulInteger16",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "QAttention",
    "QEmbedLayerNormalization",
    "QGemm",
    "QLinearAdd",
    "QLinearAveragePool",
    "QLinearConcat",
    "QLinearConv",
    "QLinearGlobalAveragePool",
    "QLinearLeakyRelu",
    "QLinearMul",
    "QLinearSigmoid",
    "QLinearSoftmax",
    "QLinearWhere",
    "QMoE",
    "QOrderedAttention",
    "QOrderedGelu",
    "QOrderedLayerNormalization",
    "QOrderedLongformerAttention",
    "QOrderedMatMul",
  ),
  ...refused(
    "it sends tokens to experts inside one kernel; export the model with its experts written out",
    "MoE",
  ),
  ...refused(
    "ONNX Runtime's optimizer writes it for its own use; save the model without graph optimizations",
    "MaxpoolWithMask",
    "NhwcMaxPool",
  ),
} satisfies RuleTable;
