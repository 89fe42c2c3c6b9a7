import Long from "long";
import { gradientOutput, isInjected } from "../analysis/block-nodes.ts";
import { withEmptyCache } from "../analysis/cache-inputs.ts";
import { checkSamples, resolveInputs } from "../analysis/dimensions.ts";
import { hiddenLayers } from "../analysis/hidden-sites.ts";
import type { Probe } from "../analysis/probe.ts";
import { runtimeFaults } from "../analysis/runtime-faults.ts";
import { findSites } from "../analysis/sites.ts";
import { unusableText } from "../analysis/unusable-numbers.ts";
import { artifactKind } from "../artifacts/training-model.ts";
import { SorthError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { Model } from "../onnx/model.ts";
import { subjectOf } from "../penalties/applies.ts";
import { buildBlock } from "./build-block.ts";
import { checkFreeSizes, checkLoads, inferForBlock } from "./check-block.ts";
import { injectIntoArtifact } from "./inject-artifact.ts";
import { checkedPlans, type InjectOptions } from "./options.ts";
import { innerValues, reachableSites, reachFunctions } from "./reach-functions.ts";
import { spliceBlock } from "./splice-block.ts";

/** Opsets in which the block can be written, and the newest file version that ONNX Runtime loads. */
const supported = { opset: { least: 7, most: 26 }, irVersion: 13 } as const;

/** Adds penalties to a model. `Library.inject` documents it. */
export async function inject(model: Model, given: InjectOptions, probe: Probe): Promise<Model> {
  const { plans } = checkedPlans(given);
  const { graph, own, outer } = await reachFunctions(model, probe);
  const options = withEmptyCache(graph, given);
  checkNotInjected(graph);
  if (artifactKind(graph)) return injectIntoArtifact(model, options, probe);
  checkVersions(model, graph);
  checkDimensions(graph, options);
  checkSamples(graph);
  for (const fault of runtimeFaults(graph)) options.onMessage?.(fault);
  const layout = model.layout;
  // Penalties that read only weights need no lengths of data.
  const ofWeights =
    options.objective === undefined && plans.every(({ penalty }) => subjectOf(penalty) === "weights");
  const { others, sizes } = await inferForBlock(graph, probe, {
    ...options,
    ...(ofWeights && { open: true }),
  });
  const shapes = resolveInputs(graph, sizes);
  const layersOf = (one: Graph) => {
    const inner = innerValues(one, outer);
    return {
      inner,
      found: reachableSites(
        findSites(one, { openResponses: ofWeights, hidden: hiddenLayers(one), inBodies: true }),
        inner,
      ),
    };
  };
  const { inner, found } = layersOf(graph);
  const weights = new Set(found.sites.flatMap(({ weight, bias }) => (bias ? [weight, bias] : [weight])));
  for (const text of unusableText([...weights].map((value) => ({ value, reason: "" }))))
    options.onMessage?.(text);
  const block = buildBlock(graph, found, options, { inner });
  await checkLoads(graph, shapes, block, probe);
  const rebuild = (fresh: Graph, own: InjectOptions) => {
    const layers = layersOf(fresh);
    return buildBlock(fresh, layers.found, own, layers);
  };
  await checkFreeSizes(
    { block, others, graphOf: async () => (await reachFunctions(model, probe)).graph, rebuild },
    options,
    probe,
  );
  return Model.spliced(spliceBlock(layout, own, block), model);
}

/** @throws SorthError for a model that already has a block, and for a gradient graph written by `grad` */
function checkNotInjected(graph: Graph): void {
  const gradient = gradientOutput(graph);
  if (gradient !== undefined) {
    throw new SorthError(
      `the file computes gradients ("${gradient}"): inject into the model that they were made from`,
    );
  }
  if (isInjected(graph)) {
    throw new SorthError(
      "the model has a penalty injected already; strip it first (sorth-onnx strip), then inject again",
    );
  }
}

/** @throws UsageError for a length that replaces one fixed by the file, because the block would not fit the file. */
function checkDimensions(graph: Graph, { dims = {} }: InjectOptions): void {
  for (const { name, declared } of graph.inputs) {
    declared?.forEach((dim, axis) => {
      const given = dims[`${name}.${axis}`];
      if (typeof dim !== "number" || given === undefined || given === dim) return;
      throw new UsageError(
        `axis ${axis} of input "${name}" has the length ${dim}, which the file fixes: leave --dim ${name}.${axis} out`,
      );
    });
  }
}

/** @throws SorthError for an opset or file version in which the block cannot be written */
function checkVersions(model: Model, graph: Graph): void {
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
