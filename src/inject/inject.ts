import Long from "long";
import { resolveInputs } from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import type { Probe } from "../analysis/probe.ts";
import { probeModel } from "../analysis/probe-model.ts";
import { findSites } from "../analysis/sites.ts";
import { messageOf, SorthError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { Model } from "../onnx/model.ts";
import { layoutOf } from "../onnx/splice.ts";
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
  const block = buildBlock(graph, findSites(graph), options);
  await checkBlock(graph, block, probe, options, batch);
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

/**
 * Lets ONNX Runtime check the block, at the probed batch and, where the batch is free, at twice that.
 * @throws SorthError when the block does not load, or holds a batch size
 */
async function checkBlock(
  graph: Graph,
  { outputs, inputs }: BuiltBlock,
  probe: Probe,
  options: InjectOptions,
  batch: number | undefined,
): Promise<void> {
  const added = new Set(inputs);
  const load = async (size: number | undefined, values: readonly Value[]): Promise<void> => {
    const shapes = resolveInputs(graph, { ...options, ...(size === undefined ? {} : { batch: size }) });
    for (const input of added) shapes.delete(input);
    await probe.outputs(probeModel(graph, shapes, { values }));
  };
  try {
    await load(batch, outputs);
  } catch (error) {
    throw new SorthError(`the penalty does not fit the model: ${messageOf(error)}`);
  }
  if (batch === undefined) return;
  const before = graph.outputs.filter((output) => !outputs.includes(output));
  const loads = async (values: readonly Value[]) =>
    load(2 * batch, values).then(
      () => true,
      () => false,
    );
  if (!(await loads(outputs)) && (await loads(before))) {
    throw new SorthError(
      `a penalty holds the batch size ${batch}, while the model's is free; fix it in the penalty`,
    );
  }
}
