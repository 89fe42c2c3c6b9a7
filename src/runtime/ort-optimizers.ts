import type { InferenceSession } from "onnxruntime-common";
import { quantized } from "../analysis/quantized.ts";
import { bodiesOf } from "../graph/bodies.ts";
import type { Model } from "../onnx/model.ts";
import type { onnx } from "../onnx/schema.js";

/** Optimizers of ONNX Runtime, and the operators of which a graph needs one before any of them has something to do. */
interface Idle {
  readonly optimizers: readonly string[];
  /** Names of operators, of any domain. */
  readonly without: RegExp;
}

/**
 * By the patterns that the optimizers of ONNX Runtime 1.30 look for. Several of these rewrite what another one has made
 * (BiasGeluFusion reads the Gelu that GeluFusion makes of Erf): then the operators of both are here.
 */
const idle: readonly Idle[] = [
  {
    optimizers: [
      ...["DoubleQDQPairsRemover", "QDQPropagationTransformer", "WeightBiasQuantization"],
      ...["EnsureUniqueDQForNodeUnit", "WhereDummyDq", "QDQS8ToU8Transformer", "Avx2WeightS8ToU8Transformer"],
      ...["QDQSelectorActionTransformer", "QDQFinalCleanupTransformer", "MatMulNBitsFusion"],
      ...["MatMulIntegerToFloatFusion", "DynamicQuantizeMatMulFusion"],
    ],
    without: quantized,
  },
  {
    optimizers: ["GroupQueryAttentionFusion", "GroupQueryAttentionPreNormFusion"],
    without: /^GroupQueryAttention$/,
  },
  { optimizers: ["GeluFusionL1", "GeluFusionL2"], without: /^Erf$/ },
  { optimizers: ["FastGeluFusion"], without: /^Tanh$/ },
  { optimizers: ["QuickGeluFusion"], without: /^Sigmoid$/ },
  { optimizers: ["BiasGeluFusion"], without: /Gelu|^Erf$|^Tanh$/ },
  { optimizers: ["BiasSoftmaxFusion", "AttentionFusion"], without: /Softmax/ },
  { optimizers: ["BiasDropoutFusion"], without: /Dropout/ },
  { optimizers: ["EmbedLayerNormFusion"], without: /^Gather$/ },
  {
    optimizers: ["LayerNormFusionL1", "LayerNormFusionL2", "SimplifiedLayerNormFusion"],
    without: /^ReduceMean$/,
  },
  {
    optimizers: ["SkipLayerNormFusion", "BiasSkipLayerNormFusion"],
    without: /LayerNormalization|^RMSNormalization$|^ReduceMean$/,
  },
  {
    optimizers: ["MatMulAddFusion", "MatMulScaleFusion", "MatMulActivationFusion", "MatmulTransposeFusion"],
    without: /MatMul/,
  },
  { optimizers: ["GemmActivationFusion"], without: /Gemm|MatMul/ },
  { optimizers: ["ConvActivationFusion", "ConvAddActivationFusion"], without: /Conv/ },
  { optimizers: ["NchwcTransformer", "NhwcTransformer"], without: /Conv|Pool/ },
  { optimizers: ["GatherToSliceFusion"], without: /^Gather$/ },
  { optimizers: ["GatherSliceToSplitFusion"], without: /^Gather$|^Slice$/ },
  { optimizers: ["SliceConcatToSpaceToDepthFusion"], without: /^Concat$/ },
  { optimizers: ["ReshapeFusion"], without: /^Reshape$/ },
];

/** With free lengths only, which no session here sets. */
const always = ["FreeDimensionOverrideTransformer"];

/**
 * Leaves out the optimizers of ONNX Runtime that find nothing in this graph: each of them sorts the whole graph before it
 * looks, in every round, which is most of the time in which a large training step is opened.
 * @returns the session's `extra.optimization`; it changes neither the optimized graph nor any result
 */
export function onlyUsefulOptimizers(model: Model): NonNullable<InferenceSession.SessionOptions["extra"]> {
  const operators = operatorsOf(model.proto);
  const idling = idle.filter(({ without }) => ![...operators].some((name) => without.test(name)));
  const names = [...always, ...idling.flatMap(({ optimizers }) => optimizers)];
  return { optimization: { disable_specified_optimizers: names.join(";") } };
}

/** The operators of a model, those in bodies and functions included. */
function operatorsOf({ graph, functions }: onnx.ModelProto.$Properties): Set<string> {
  const found = new Set<string>();
  const open = [graph?.node ?? [], ...(functions ?? []).map(({ node }) => node ?? [])];
  for (let nodes = open.pop(); nodes; nodes = open.pop()) {
    for (const node of nodes) {
      found.add(node.opType ?? "");
      for (const body of bodiesOf(node)) open.push(body.node ?? []);
    }
  }
  return found;
}
