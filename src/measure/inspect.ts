import { openLengths } from "../analysis/cache-inputs.ts";
import { type DimensionOptions, exampleFlags, fedInputs } from "../analysis/dimensions.ts";
import { hiddenLayers } from "../analysis/hidden-sites.ts";
import { inferShapes } from "../analysis/infer.ts";
import { dimensionNames, parameterNames, shareNames } from "../analysis/option-names.ts";
import {
  type ConstantValue,
  findParameters,
  type Parameter,
  type ParameterOptions,
} from "../analysis/parameters.ts";
import type { Probe } from "../analysis/probe.ts";
import { frozenLayers, quantizedLayers, roundsActivations } from "../analysis/quantized-layers.ts";
import { runtimeFaults } from "../analysis/runtime-faults.ts";
import { shareCheck } from "../analysis/share-options.ts";
import type { ShareOptions } from "../analysis/shared-initializers.ts";
import type { Site } from "../analysis/site-types.ts";
import { findSites } from "../analysis/sites.ts";
import { unusableText } from "../analysis/unusable-numbers.ts";
import { doneSuffix } from "../artifacts/format.ts";
import { forwardGraphOf, zerosFor } from "../artifacts/forward-part.ts";
import { fullGradientOf } from "../artifacts/full-gradient.ts";
import { artifactKind, type TrainingModel, trainingModelOf } from "../artifacts/training-model.ts";
import { blockOf } from "../block/block.ts";
import type { Mark } from "../block/mark.ts";
import { listed, messageOf } from "../errors.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import type { Model } from "../onnx/model.ts";
import { writeOutBodies } from "../passes/expansion/expand-bodies.ts";
import { liftParameters } from "../passes/expansion/expand-model.ts";
import { writeOutLayers } from "../passes/expansion/write-out-layers.ts";
import { appliesTo } from "../penalties/applies.ts";
import { penaltyNamed, penaltyNames } from "../penalties/table.ts";
import { exportAdvice, type Producer } from "./export-advice.ts";

/** Options of {@link inspect}. */
export interface InspectOptions extends DimensionOptions, ParameterOptions, ShareOptions {}

const optionNames = {
  ...{ ...dimensionNames, ...parameterNames, ...shareNames },
} as const satisfies OptionNames<InspectOptions>;

/** A tensor of a model's interface. */
export interface InspectedValue {
  readonly name: string;
  readonly type: string;
  /** The shape that the file declares: numbers, names of free dimensions, `?`. */
  readonly shape: readonly (number | string)[];
}

/** A layer a penalty can act on. */
export interface InspectedSite {
  readonly name: string;
  readonly op: string;
  readonly units: number;
  readonly fanIn: number;
  readonly groups: number;
  /** Rows of the response, at the probed batch size unless `rowsFixed`; undefined if they depend on open lengths. */
  readonly rows: number | undefined;
  readonly rowsFixed: boolean;
  /** Whether the response is an output of the model: a penalty on it works against the loss. */
  readonly isOutput: boolean;
  readonly weight: string;
  readonly bias: string | undefined;
  /** Penalties by name: true if it applies, else why not. Those that act on adapters alone are left out. */
  readonly penalties: Readonly<Record<string, true | string>>;
}

/** The contents of a file of ONNX Runtime's training tools. */
export interface InspectedArtifact {
  /** Which file of a run it is; `unknown` if its contents do not say. */
  readonly kind: "training" | "eval" | "optimizer" | "unknown";
  /** Name of the loss (a training model's). */
  readonly loss: string | undefined;
  /** Inputs whose numbers a checkpoint holds and training leaves unchanged, without running statistics. */
  readonly frozen: readonly InspectedValue[];
  /** Layers by name: true if the file computes the gradient of the layer's response, else why not. */
  readonly gradients: Readonly<Record<string, true | string>>;
}

/** The penalty that was injected into a model. */
export interface InspectedBlock {
  /** Penalties with their names and options; the weight of the first one is the w of loss + w·R. */
  readonly penalties: readonly {
    readonly name: string;
    readonly options: Readonly<Record<string, number | string | boolean>>;
    readonly weight: number;
    /** The schedule of its weight over a run. */
    readonly schedule?: string;
  }[];
  /** The model's own output that became loss + w·R. */
  readonly loss: string | undefined;
  /** The loss that was injected with it. */
  readonly objective: string | undefined;
}

/** The result of {@link inspect}. */
export interface Inspection {
  readonly opset: number;
  readonly irVersion: number;
  readonly producer: string;
  /** The kind of file: a forward model, an injected one, or one of ONNX Runtime's training artifacts. */
  readonly kind: "model" | "injected" | "training-artifact";
  /** Details of an artifact; undefined for other models. The layers and inputs are those of its forward part. */
  readonly artifact?: InspectedArtifact;
  /** The penalty in it, if one was injected. */
  readonly block?: InspectedBlock;
  readonly nodes: number;
  readonly inputs: readonly InspectedValue[];
  readonly outputs: readonly InspectedValue[];
  /** Batch size for which rows were counted, if the file leaves it open. */
  readonly probedBatch: number | undefined;
  readonly sites: readonly InspectedSite[];
  readonly skipped: readonly { readonly name: string; readonly op: string; readonly reason: string }[];
  readonly parameters: readonly {
    readonly name: string;
    /** The parameter's name in the training framework, if the file has another name for it. */
    readonly source?: string;
    readonly shape: readonly number[];
    readonly reason: string;
  }[];
  readonly constants: readonly {
    readonly name: string;
    readonly source?: string;
    readonly shape: readonly number[];
    readonly reason: string;
  }[];
  /** Initializers that several operators read: training gives each reader its own copy, or keeps one for all. */
  readonly shared: readonly {
    readonly name: string;
    readonly kind: "split" | "tied";
    readonly reason: string;
  }[];
  readonly advice: readonly string[];
}

/** Lists the contents of a model, with the shapes that the probe finds. `Library.inspect` documents it. */
export async function inspect(model: Model, options: InspectOptions, probe: Probe): Promise<Inspection> {
  checkKnown("inspect", options, optionNames);
  const graph = graphOf(model);
  const kind = artifactKind(graph);
  const training = trainingModelOf(graph);
  if (training) return inspectTraining(model, training, options, probe);
  const block = blockOf(graph);
  const own = { nodes: new Set(graph.nodes), values: new Set([...graph.values].map(({ name }) => name)) };
  const faults = runtimeFaults(graph);
  // Same as in train, so that both use the same parameters and layers.
  const { copies, shared } = liftParameters(graph, options, model.external, shareCheck);
  await writeOutLayers(graph);
  const found = findParameters(graph, options);
  const described = ({ value, reason, source }: Parameter | ConstantValue) => ({
    name: value.name,
    ...(source !== undefined && source !== value.name && { source }),
    shape: value.initializer?.dims ?? [],
    reason,
  });
  const missing = kind ? [] : openLengths(graph, options);
  await writeOutBodies(graph, model, probe);
  const batch = kind ? undefined : (await inferShapes(graph, probe, { ...options, open: true })).batch;
  const { sites, skipped } = kind
    ? { sites: [], skipped: [] }
    : findSites(graph, { openResponses: true, hidden: hiddenLayers(graph), inBodies: true });
  return {
    ...fileFacts(model, graph),
    nodes: own.nodes.size,
    kind: kind ? "training-artifact" : block ? "injected" : "model",
    ...(kind && { artifact: { kind, loss: undefined, frozen: [], gradients: {} } }),
    ...(block && { block: inspectedBlock(block.mark) }),
    inputs: fedInputs(graph).map(interfaceOf),
    outputs: graph.outputs.map(interfaceOf),
    probedBatch: batch,
    sites: sites.map((site) => inspectedSite(site, graph)),
    skipped,
    parameters: found.parameters.map(described),
    constants: found.constants.map(described),
    shared: [
      ...shared.map(({ value, kind, reason }) => ({ name: value.name, kind, reason })),
      ...copies.map(({ name, of, made }) => ({
        ...{ name, kind: "tied" as const },
        reason: made ? `"${of}", repeated by the exporter` : `a copy of "${of}" in another layout`,
      })),
    ],
    advice: kind
      ? ["inject the penalty into training_model.onnx, which lies beside this file"]
      : [
          ...adviceFor(graph, found.parameters.length, {
            name: model.proto.producerName,
            version: model.proto.producerVersion,
          }),
          ...adviceOnLengths(missing, sites),
          ...adviceOnFunctions(sites, own),
          ...unusableText([
            ...found.parameters,
            ...found.constants.filter(({ reason }) => reason.startsWith("running")),
          ]),
          ...faults,
        ],
  };
}

/** How to get rows and penalties on responses if lengths are open. */
function adviceOnLengths(missing: readonly string[], sites: readonly Site[]): string[] {
  if (missing.length === 0 || sites.every(({ response, body }) => response.shape || body)) return [];
  return [
    `lengths of its inputs are open (${missing.join(", ")}): rows and penalties on responses are known with, for instance, ${exampleFlags(missing)}; penalties on weights need none`,
  ];
}

/** Which layers an injected block cannot penalise: those whose weights are constants inside functions or bodies. */
function adviceOnFunctions(
  sites: readonly Site[],
  { nodes, values }: { readonly nodes: ReadonlySet<Node>; readonly values: ReadonlySet<string> },
): string[] {
  const inner = sites.filter(({ node, weight }) => !nodes.has(node) && !values.has(weight.name));
  if (inner.length === 0) return [];
  const [names, their] = [listed(inner.map(({ name }) => name)), inner.length === 1 ? "its" : "their"];
  return [
    `${names}: ${their} weights are constants inside functions or bodies of the model, so that inject leaves ${inner.length === 1 ? "it" : "them"} out; train, step and grad penalise and train ${inner.length === 1 ? "it" : "them"}`,
  ];
}

/** Facts from the file's header, and the number of nodes. */
const fileFacts = ({ proto }: Model, { opset, nodes }: Graph) => ({
  opset,
  irVersion: Number(proto.irVersion),
  producer: [proto.producerName, proto.producerVersion].filter(Boolean).join(" "),
  nodes: nodes.length,
});

/** Inspects a training model: its forward part, and the gradients it computes. */
async function inspectTraining(
  model: Model,
  training: TrainingModel,
  options: InspectOptions,
  probe: Probe,
): Promise<Inspection> {
  const graph = forwardGraphOf(model, zerosFor);
  const { batch } = await inferShapes(graph, probe, options);
  const { sites, skipped } = findSites(graph);
  const gradientOf = (site: Site): true | string => {
    try {
      return fullGradientOf(training, site) ? true : "nothing before it is trained";
    } catch (error) {
      return messageOf(error);
    }
  };
  const block = blockOf(training.graph);
  return {
    ...fileFacts(model, training.graph),
    kind: "training-artifact",
    ...(block && { block: inspectedBlock(block.mark) }),
    artifact: {
      ...{ kind: "training", loss: training.loss.name, frozen: training.frozen.map(interfaceOf) },
      gradients: Object.fromEntries(sites.map((site) => [site.name, gradientOf(site)])),
    },
    inputs: training.inputs.map(interfaceOf),
    outputs: training.graph.outputs.filter(({ name }) => !name.endsWith(doneSuffix)).map(interfaceOf),
    probedBatch: batch,
    sites: sites.map((site) => inspectedSite(site, graph)),
    skipped,
    parameters: training.parameters.map(({ value, gradient }) => ({
      name: value.name,
      shape: (value.declared ?? []).map(Number),
      reason: `trained by "${gradient.name}"`,
    })),
    constants: [],
    shared: [],
    advice: block
      ? ["a penalty is injected; sorth-onnx strip takes it out again"]
      : [
          "sorth-onnx inject adds a penalty to its loss and gradients; sorth-onnx train goes on with the run on any build of ONNX Runtime",
        ],
  };
}

const inspectedBlock = ({ penalties, loss, objective }: Mark): InspectedBlock => ({
  penalties: penalties.map(({ name, options, weight, schedule }) => ({
    ...{ name, options, weight },
    ...(schedule !== undefined && { schedule }),
  })),
  loss: loss?.name,
  objective: objective?.name,
});

function inspectedSite(whole: Site, { outputs }: Graph): InspectedSite {
  const { name, op, units, fanIn, groups, rows, rowsFixed, weight, bias, response } = whole;
  return {
    ...{ name, op, units, fanIn, groups, rowsFixed, weight: weight.name, bias: bias?.name },
    rows: Number.isNaN(rows) ? undefined : rows,
    isOutput: outputs.includes(response),
    penalties: Object.fromEntries(
      penaltyNames.map((penalty) => [penalty, appliesTo(penaltyNamed(penalty), whole)]),
    ),
  };
}

function interfaceOf({ name, type, declared, shape }: Value): InspectedValue {
  return { name, type: type ?? "?", shape: (declared ?? shape ?? []).map((dim) => dim ?? "?") };
}

/** Advice about the file for users who want to train it. */
function adviceFor(graph: Graph, parameters: number, producer: Producer): string[] {
  const advice: string[] = [];
  const quantized = quantizedLayers(graph);
  if (parameters === 0)
    advice.push(
      quantized.length > 0
        ? `nothing in it is trained by default: ${frozenLayers(quantized)}; add --lora, --classes N, or name what to train (--trainable)`
        : "nothing in it is trainable: it holds no float initializer that a layer reads",
    );
  const missing = exportAdvice(graph, producer);
  if (missing) advice.push(missing);
  if (parameters > 0 && quantized.length > 0) {
    advice.push(`${frozenLayers(quantized)}; what is trained beside them gets its gradients through them`);
  }
  if (roundsActivations(graph)) {
    advice.push("it rounds activations: gradients pass straight through with --straight-through");
  }
  return advice;
}
