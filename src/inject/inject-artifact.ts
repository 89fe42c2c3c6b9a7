import Long from "long";
import { ownNames } from "../analysis/block-nodes.ts";
import { resolveInputs } from "../analysis/dimensions.ts";
import type { Probe } from "../analysis/probe.ts";
import type { Site } from "../analysis/site-types.ts";
import { findSites } from "../analysis/sites.ts";
import { loadable } from "../artifacts/format.ts";
import { forwardGraphOf, zerosFor } from "../artifacts/forward-part.ts";
import { fullGradientOf } from "../artifacts/full-gradient.ts";
import { artifactKind, type TrainingModel, trainingModelOf } from "../artifacts/training-model.ts";
import { SorthError, UsageError } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { Model } from "../onnx/model.ts";
import { fixedDraws } from "../penalties/build.ts";
import { buildBlock } from "./build-block.ts";
import { checkFreeSizes, checkLoads, inferForBlock } from "./check-block.ts";
import type { InjectOptions } from "./options.ts";
import { spliceArtifactBlock } from "./splice-artifact.ts";

/**
 * Injects into a training_model.onnx. w·R is added to its loss (output 0), w·∂R/∂response to the gradient of each response,
 * and w·∂R/∂parameter to the gradient of each parameter that a penalty reads itself; R becomes a further output. eval_model,
 * optimizer_model and checkpoint stay valid.
 * @throws SorthError for another artifact, a file that ONNX Runtime would not load, or gradients that cannot be identified;
 * UsageError for options that only forward models have, and penalties that need new random numbers during training
 */
export async function injectIntoArtifact(model: Model, options: InjectOptions, probe: Probe): Promise<Model> {
  const artifact = graphOf(model);
  const training = checkedTrainingModel(artifact);
  checkVersions(model, artifact);
  checkStatistics(artifact);
  if (options.loss !== undefined || options.objective !== undefined) {
    throw new UsageError(
      `a training model holds its loss ("${training.loss.name}"), to which the penalty is added; leave --loss and --objective out`,
    );
  }
  const kept = ownNames(artifact);
  const forwardGraph = () => forwardGraphOf(model, zerosFor);
  const rebuild = (graph: Graph, own: InjectOptions) => {
    const gradientOf = (value: Value, site: Site) => {
      if (value === site.response) {
        const gradient = fullGradientOf(training, site);
        if (!gradient) {
          own.onMessage?.(`${site.name}: its penalty joins the loss only: nothing before it is trained`);
        }
        return gradient !== undefined;
      }
      const trained = training.parameters.some((parameter) => parameter.value.name === value.name);
      if (!trained) {
        own.onMessage?.(`${site.name}: its penalty joins the loss only: "${value.name}" is not trained`);
      }
      return trained;
    };
    const options = { ...own, loss: training.loss.name };
    return buildBlock(graph, findSites(graph), options, { gradientOf, draw: fixedDraws, kept });
  };

  const forward = forwardGraph();
  const { others, sizes } = await inferForBlock(forward, probe, options);
  const shapes = resolveInputs(forward, sizes);
  const block = rebuild(forward, options);
  await checkLoads(forward, shapes, block, probe);
  await checkFreeSizes({ block, others, graphOf: forwardGraph, rebuild }, options, probe);
  return Model.spliced(spliceArtifactBlock(model.layout, training, forward, block), model);
}

/** @throws SorthError for an artifact that is not a training model */
function checkedTrainingModel(graph: Graph): TrainingModel {
  const training = trainingModelOf(graph);
  if (training) return training;
  const kind = artifactKind(graph);
  const what = kind === "eval" || kind === "optimizer" ? `an ${kind} model` : "no training model";
  throw new SorthError(
    `this file of ONNX Runtime's training tools is ${what}; the penalty belongs into training_model.onnx, and the files beside it stay as they are`,
  );
}

function checkVersions(model: Model, { opset }: Graph): void {
  const irVersion = Long.fromValue(model.proto.irVersion ?? 0).toNumber();
  const runtime = "ONNX Runtime 1.19.2, the last with a training session";
  if (irVersion > loadable.irVersion) {
    throw new SorthError(
      `the training model has IR version ${irVersion}; ${runtime}, loads up to ${loadable.irVersion}`,
    );
  }
  const { least, most } = loadable.opset;
  if (opset > most || opset < least) {
    throw new SorthError(
      `the training model has opset ${opset}; ${runtime}, trains opsets ${least} to ${most}`,
    );
  }
}

/** Refuses running statistics that share another value's numbers: ONNX Runtime updates them in place and would overwrite that value. */
function checkStatistics(graph: Graph): void {
  for (const node of graph.nodes) {
    // With one output, BatchNormalization reads its statistics and updates none.
    if (!/^BatchNorm(alization|Internal)$/.test(node.opType) || !node.outputs[1]) continue;
    const [, scale, bias, mean, variance] = node.inputs;
    const alias =
      [mean, variance].find((value) => value?.producer ?? (value && [scale, bias].includes(value))) ??
      (mean === variance ? mean : undefined);
    if (!alias) continue;
    const from = alias.producer ? `${alias.producer.op} of "${alias.producer.inputs[0]?.name}"` : "shared";
    throw new SorthError(
      `the running statistics of BatchNorm node "${node.label}" are not its own ("${alias.name}" is ${from}): ONNX Runtime updates them in place and would overwrite that value; export the model with separate statistics (keep_initializers_as_inputs=False, do_constant_folding=False) and make the artifacts again`,
    );
  }
}
