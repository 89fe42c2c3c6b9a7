import { batchNormKey } from "../analysis/batch-norm-form.ts";
import { base64 } from "../block/base64.ts";
import { renameInNode } from "../block/rename-record.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import { metadataRecord } from "../graph/records.ts";
import { encodeNodeProto } from "../onnx/codec.ts";
import { initializerRecord } from "../onnx/encode-in-pieces.ts";
import { Model } from "../onnx/model.ts";
import { tensorOf } from "../onnx/random-tensors.ts";
import { onnx } from "../onnx/schema.js";
import { payloadOf, splice } from "../onnx/splice.ts";
import type { Chunk } from "../onnx/stored.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { bytesField, concatBytes, type FieldRecord, graphFields } from "../onnx/wire.ts";
import type { FoldedLayer } from "./folded-layers.ts";
import type { BatchNormMark, BatchNormNames, RecoveredLayer } from "./mark.ts";

/** ONNX's and PyTorch's ε. */
const epsilon = 1e-5;
/** The weight of the old running statistic; PyTorch calls the weight of the new one momentum, 0.1. */
const momentum = 0.9;

/** Mean and variance of a layer's response over data, one number per unit, in float64. */
export interface ResponseStatistics {
  readonly mean: Float64Array;
  readonly variance: Float64Array;
}

/** A layer and the statistics of its response. */
export interface MeasuredLayer {
  readonly layer: FoldedLayer;
  readonly statistics: ResponseStatistics;
}

/**
 * Puts a BatchNormalization behind each layer so that the inference form computes what it did: with the statistics μ, σ² of
 * the response y = Wx + b, the layer loses its bias (its response is y − b), and
 *
 *     running mean = μ − b    running variance = σ²    scale = √(σ² + ε)    bias = μ
 *
 * The Add of a bias becomes the BatchNormalization itself. All other bytes stay; a mark says what `foldBatchNorm` has to undo.
 */
export function withBatchNorm(model: Model, measured: readonly MeasuredLayer[]): Model {
  const { layout } = model;
  const graph = graphOf(model);
  const replace = new Map<FieldRecord, Uint8Array>();
  const records = layout.graph.filter(({ field }) => field === graphFields.node);
  const recordOf = new Map(graph.nodes.map((node, i) => [node.outputs.find((one) => one)?.name, records[i]]));
  const initializers: Chunk[] = [];
  const layers = measured.map(({ layer, statistics }): RecoveredLayer => {
    const { folded, ...names } = namesFor(graph, layer);
    const { tensors, unnormalized, batchNorm } = batchNormOf(graph, layer, names, statistics);
    initializers.push(...tensors.flatMap((tensor) => initializerRecord(tensor)));
    const { node, add, response, bias, biasInput, ownsBias, weight, axis, units } = layer;
    const record = recordOf.get(response.name) as FieldRecord;
    const before = payloadOf(layout, record);
    const added = bytesField(graphFields.node, batchNorm);
    const renamed = renameInNode(before, response.name, unnormalized);
    const unbiased = biasInput === undefined ? renamed : renameInNode(renamed, biasInput, "");
    replace.set(record, add ? added : concatBytes([bytesField(graphFields.node, unbiased), added]));
    return {
      ...names,
      ...{ response: response.name, unnormalized, weight: weight.name, axis },
      groups: node.opType === "ConvTranspose" ? node.int("group", 1) : 1,
      ...(biasInput !== undefined && { biasInput }),
      biasOfLayer: {
        name: ownsBias ? (bias?.name ?? "") : folded,
        dims: bias?.dims ?? [units],
      },
      beta: node.opType === "Gemm" ? node.float("beta", 1) : 1,
      ...(add && { add: base64.encode(bytesField(graphFields.node, before)) }),
    };
  });
  const mark: BatchNormMark = { version: 1, graphLengthWidth: layout.graphLengthWidth, layers };
  return Model.spliced(
    splice(layout, {
      replace,
      appendToGraph: initializers,
      appendToModel: [metadataRecord(batchNormKey, JSON.stringify(mark))],
    }),
    model,
  );
}

/** Names for the tensors of a layer's BatchNormalization, after the layer's module. */
function namesFor(
  graph: Graph,
  { names, weight, name }: FoldedLayer,
): BatchNormNames & { readonly folded: string } {
  const module = /^(.+)\.weight$/.exec(weight.name)?.[1] ?? names[1] ?? name;
  const stem = `${module}.batch_norm`;
  const fresh = (part: string) => graph.freshName(`${stem}.${part}`);
  return {
    ...{ scale: fresh("scale"), bias: fresh("bias") },
    ...{ mean: fresh("running_mean"), variance: fresh("running_variance") },
    folded: graph.freshName(`${module}.folded_bias`),
  };
}

function batchNormOf(
  graph: Graph,
  { node, add, response, bias, weight, name }: FoldedLayer,
  names: BatchNormNames,
  { mean, variance }: ResponseStatistics,
): { readonly tensors: readonly Tensor[]; readonly unnormalized: string; readonly batchNorm: Uint8Array } {
  const type = weight.type ?? "float";
  const units = mean.length;
  const beta = node.opType === "Gemm" ? node.float("beta", 1) : 1;
  const biases = bias?.numbers() ?? [];
  const numbers = {
    scale: Array.from(variance, (v) => Math.sqrt(rounded(v, type) + epsilon)),
    bias: Array.from(mean),
    mean: Array.from(mean, (m, i) => m - beta * (biases[i] ?? 0)),
    variance: Array.from(variance),
  };
  const tensors = (["scale", "bias", "mean", "variance"] as const).map((part) =>
    graph.addInitializer(tensorOf(names[part], type, [units], numbers[part])),
  );
  const unnormalized = add ? (node.outputs[0]?.name ?? "") : graph.freshName(`${response.name}.unnormalized`);
  const attribute = (key: string, f: number) => ({
    name: key,
    f,
    type: onnx.AttributeProto.AttributeType.FLOAT,
  });
  const batchNorm = encodeNodeProto({
    opType: "BatchNormalization",
    name: graph.freshName(`${name}/BatchNormalization`),
    input: [unnormalized, names.scale, names.bias, names.mean, names.variance],
    output: [response.name],
    attribute: [attribute("epsilon", epsilon), attribute("momentum", momentum)],
  });
  // Names of later layers stay apart from these.
  if (!add) graph.reference(unnormalized);
  return { tensors: tensors.flatMap(({ initializer }) => initializer ?? []), unnormalized, batchNorm };
}

/** A number as a tensor of a type holds it. */
const rounded = (value: number, type: string): number => (type === "float" ? Math.fround(value) : value);
