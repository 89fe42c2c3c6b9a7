import Long from "long";
import { resolveInputs } from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import type { Probe } from "../analysis/probe.ts";
import { probeModel } from "../analysis/probe-model.ts";
import { findSites } from "../analysis/sites.ts";
import { messageOf, SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { nodeToProto } from "../graph/proto.ts";
import { encodeNodeProto } from "../onnx/codec.ts";
import { Model } from "../onnx/model.ts";
import { layoutOf } from "../onnx/splice.ts";
import { equalBytes } from "../onnx/wire.ts";
import { isBlockNode } from "./block.ts";
import { type BuiltBlock, buildBlock } from "./build-block.ts";
import { markKey, penaltyOutput } from "./mark.ts";
import { checkedPlans, type InjectOptions } from "./options.ts";
import { spliceBlock } from "./splice-block.ts";
import { trainingNode } from "./training-artifact.ts";

/** Opsets whose operators the block is written in, and the newest file version that ONNX Runtime loads. */
const supported = { opset: { least: 11, most: 26 }, irVersion: 13 } as const;

/**
 * Adds penalties to a model: scalar output `sorth_penalty`, and if asked for one scalar a layer, the penalty in the
 * model's own loss, or a loss. Everything the model had stays byte for byte as it was, except a loss that gets a new name.
 * The model keeps its opset, its batch stays free, and large weights are neither copied nor, if in other files, read.
 *
 * @returns a model of views of the old bytes with the new records between them
 * @throws SorthError when the model cannot be injected, has been already, or no layer takes a penalty; UsageError for
 * options that do not fit
 *
 * @example
 * const model = await readModel("cnn.onnx");
 * await writeModel(await inject(model, { penalties: [som()] }, nodeProbe), "cnn-som.onnx");
 */
export async function inject(model: Model, options: InjectOptions, probe: Probe): Promise<Model> {
  checkedPlans(options);
  const graph = graphOf(model);
  checkInjectable(model, graph);
  const layout = layoutOf(model.bytes);
  const { batch } = await inferShapes(graph, probe, options);
  const own = [...graph.nodes];
  const shapes = resolveInputs(graph, options);
  const block = buildBlock(graph, findSites(graph), options);
  await checkLoads(graph, shapes, block, probe);
  if (batch !== undefined) await checkFreeBatch(model, block, probe, options, batch);
  return Model.spliced(spliceBlock(layout, own, block), model);
}

/** @throws SorthError for models that a block cannot be added to. */
function checkInjectable(model: Model, graph: Graph): void {
  const injected =
    graph.metadata.has(markKey) ||
    graph.value(penaltyOutput) !== undefined ||
    graph.nodes.some(({ name, outputs }) =>
      isBlockNode(
        name,
        outputs.map((output) => output?.name ?? ""),
      ),
    );
  if (injected) {
    throw new SorthError(
      "the model has a penalty injected already; strip it first (sorth-onnx strip), then inject anew",
    );
  }
  const training = trainingNode(graph);
  if (training) {
    throw new SorthError(
      `this is a graph of ONNX Runtime's training tools (node "${training.label}" is a ${training.opType}); inject into the forward model, then make the artifacts from that`,
    );
  }
  const { least, most } = supported.opset;
  if (graph.opset < least || graph.opset > most) {
    const found = graph.opset === 0 ? "imports no standard operators" : `has opset ${graph.opset}`;
    throw new SorthError(
      `the model ${found}; supported are opsets ${least} to ${most}: convert or export it again`,
    );
  }
  const irVersion = Long.fromValue(model.proto.irVersion ?? 0).toNumber();
  if (irVersion > supported.irVersion) {
    throw new SorthError(
      `the model has IR version ${irVersion}; ONNX Runtime loads up to ${supported.irVersion}: export it again with an older one`,
    );
  }
}

/** Lets ONNX Runtime load the model with its block, at the probed batch. @throws SorthError when it refuses */
async function checkLoads(
  graph: Graph,
  shapes: ReadonlyMap<Value, readonly number[]>,
  { outputs }: BuiltBlock,
  probe: Probe,
): Promise<void> {
  try {
    await probe.outputs(probeModel(graph, shapes, { values: outputs }));
  } catch (error) {
    throw new SorthError(`the penalty does not fit the model: ${messageOf(error)}`);
  }
}

/**
 * Builds the block once more, at another batch: it must be the same.
 * @throws SorthError when a penalty wrote the batch size into it
 */
async function checkFreeBatch(
  model: Model,
  block: BuiltBlock,
  probe: Probe,
  options: InjectOptions,
  batch: number,
): Promise<void> {
  const graph = graphOf(model);
  const { onMessage: _, ...silent } = options;
  try {
    await inferShapes(graph, probe, { ...silent, batch: 2 * batch });
  } catch {
    // The model itself runs at one batch only; so may its block.
    return;
  }
  const other = buildBlock(graph, findSites(graph), silent);
  const same =
    other.nodes.length === block.nodes.length &&
    other.nodes.every((node, i) => equalBytes(encoded(node), encoded(block.nodes[i])));
  if (same) return;
  throw new SorthError(
    `a penalty wrote the batch size ${batch} into its nodes, while that of the model is free; let it use Reshape's codes (reshapeAs)`,
  );
}

const encoded = (node: Node | undefined): Uint8Array =>
  node ? encodeNodeProto(nodeToProto(node)) : new Uint8Array();
