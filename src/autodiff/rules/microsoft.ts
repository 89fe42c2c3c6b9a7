import type { RuleTable } from "../rule.ts";
import { blockQuantized } from "./block-quantized.ts";
import { contributedOperators } from "./contributed-operators.ts";
import { fusedOperators } from "./fused-operators.ts";
import { multiHeadAttention } from "./multi-head-attention.ts";
import { quantization, roundsActivations } from "./quantization.ts";
import { skipNormalizations } from "./skip-normalization.ts";

const refused = (reason: string, ...names: readonly string[]): RuleTable =>
  Object.fromEntries(names.map((name) => [`com.microsoft.${name}`, { refused: reason }]));

const unknownActivation = "its activation is unknown";

/** ONNX Runtime's own operators (com.microsoft), which its graph optimizer and some exporters write into models. */
export const microsoft = {
  ...fusedOperators,
  ...skipNormalizations,
  ...multiHeadAttention,
  ...contributedOperators,
  ...blockQuantized,

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
    "GatedRelativePositionBias",
    "GroupNorm",
    "Irfft",
    "LongformerAttention",
    "NhwcConv",
    "PackedAttention",
    "PackedMultiHeadAttention",
    "RelativePositionBias",
    "RemovePadding",
    "RestorePadding",
    "Rfft",
    "SkipGroupNorm",
  ),
  ...refused(
    "it generates text with a cache of keys and values; export the model without the cache, or without ONNX Runtime's optimizer",
    "BeamSearch",
    "DecoderAttention",
    "DecoderMaskedMultiHeadAttention",
    "DecoderMaskedSelfAttention",
    "GreedySearch",
    "LinearAttention",
    "PagedAttention",
    "Sampling",
    "SparseAttention",
    "WhisperBeamSearch",
  ),
  // src/passes/expansion/write-out-products.ts
  "com.microsoft.FusedMatMulActivation": {
    refused: unknownActivation,
    writtenOut: "FusedMatMul and the activation: any that FusedGemm takes, or Softmax",
  },
  "com.microsoft.GemmFastGelu": { refused: "it has no operands", writtenOut: "MatMul, Add and FastGelu" },
  "com.microsoft.NhwcFusedConv": {
    refused: unknownActivation,
    writtenOut: "Conv between Transposes, and the activation: any that FusedConv takes",
  },
  // src/passes/training/write-out-attention.ts
  "com.microsoft.GroupQueryAttention": {
    refused: "only its training form has a derivative: without former tokens and without quantized keys",
    writtenOut:
      "training form (no former tokens), keys and values packed or apart, rotation by cos_cache and sin_cache, scale, softcap, local window, padding, attention_bias, sinks",
  },
  "com.microsoft.DequantizeLinear": {
    vjp: quantization.DequantizeLinear.vjp,
    samples: [
      {
        inputs: [
          { shape: [2, 2], constant: [3, 200, 7, 0], type: "uint8" },
          [],
          { shape: [], constant: [5], type: "uint8" },
        ],
      },
    ],
    linear: true,
  },
  ...refused(
    roundsActivations,
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
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
    "QuantizeLinear",
  ),
  ...refused(
    "its weights or its inputs are quantized, and no rule writes it in floats: train the float model, then quantize it",
    "DynamicQuantizeLSTM",
    "MatMulBnb4",
    "MatMulFpQ4",
    "MatMulInteger16",
    "QAttention",
    "QEmbedLayerNormalization",
    "QLinearWhere",
    "QMoE",
    "QOrderedAttention",
    "QOrderedGelu",
    "QOrderedLayerNormalization",
    "QOrderedLongformerAttention",
    "QOrderedMatMul",
  ),
  ...refused(
    "it routes tokens to experts inside one kernel; export the model with its experts as plain operators",
    "MoE",
  ),
  ...refused(
    "it is internal to ONNX Runtime's optimizer; save the model without graph optimizations",
    "MaxpoolWithMask",
    "NhwcMaxPool",
  ),
} satisfies RuleTable;
