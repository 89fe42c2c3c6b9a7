import { liftConstants } from "../analysis/constants.ts";
import { type DimensionOptions, fedInputs } from "../analysis/dimensions.ts";
import { inferShapes } from "../analysis/infer.ts";
import { findParameters, type ParameterOptions } from "../analysis/parameters.ts";
import type { Probe } from "../analysis/probe.ts";
import { findShared, type ShareOptions, splitShared } from "../analysis/shared-initializers.ts";
import { findSites } from "../analysis/sites.ts";
import { trainingNode } from "../artifacts/training-model.ts";
import type { Graph } from "../graph/graph.ts";
import { graphOf } from "../graph/model-graph.ts";
import type { Value } from "../graph/node.ts";
import { blockOf } from "../inject/block.ts";
import type { Model } from "../onnx/model.ts";
import { penaltyNamed, penaltyNames } from "../penalties/table.ts";

/** Options of {@link inspect}. */
export interface InspectOptions extends DimensionOptions, ParameterOptions, ShareOptions {}

/** A tensor of a model's interface. */
export interface InspectedValue {
  readonly name: string;
  readonly type: string;
  /** As the file declares it: numbers, names of free dimensions, `?`. */
  readonly shape: readonly (number | string)[];
}

/** A layer a penalty can act on. */
export interface InspectedSite {
  readonly name: string;
  readonly op: string;
  readonly units: number;
  readonly fanIn: number;
  readonly groups: number;
  /** Rows of the response, at the probed batch size unless `rowsFixed`. */
  readonly rows: number;
  readonly rowsFixed: boolean;
  readonly weight: string;
  readonly bias: string | undefined;
  /** Penalties by name: true, or why it does not apply. */
  readonly penalties: Readonly<Record<string, true | string>>;
}

/** What {@link inspect} finds in a model. */
export interface Inspection {
  readonly opset: number;
  readonly irVersion: number;
  readonly producer: string;
  /** What kind of file it is: a forward model, an injected one, or one of ONNX Runtime's training artifacts. */
  readonly kind: "model" | "injected" | "training-artifact";
  readonly nodes: number;
  readonly inputs: readonly InspectedValue[];
  readonly outputs: readonly InspectedValue[];
  /** Batch size that rows were counted with, where the file leaves it open. */
  readonly probedBatch: number | undefined;
  readonly sites: readonly InspectedSite[];
  readonly skipped: readonly { readonly name: string; readonly op: string; readonly reason: string }[];
  readonly parameters: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly reason: string;
  }[];
  readonly constants: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly reason: string;
  }[];
  /** Initializers that several operators read: training gives each reader its own, or keeps one for all. */
  readonly shared: readonly {
    readonly name: string;
    readonly kind: "split" | "tied";
    readonly reason: string;
  }[];
  readonly advice: readonly string[];
}

/**
 * Says what the tool sees in a model: its layers and the penalties that apply, what is skipped and why, what would be
 * trained, and advice. An artifact of ONNX Runtime's training tools is recognised, not analysed.
 *
 * @example
 * const { sites } = await inspect(model);
 * sites.map(({ name, units }) => `${name}: ${units} units`);
 */
export async function inspect(model: Model, options: InspectOptions, probe: Probe): Promise<Inspection> {
  const graph = graphOf(model);
  const artifact = trainingNode(graph);
  const block = blockOf(graph);
  liftConstants(graph);
  const shared = findShared(graph, options);
  splitShared(graph, options);
  const found = findParameters(graph, options);
  const described = ({ value, reason }: { value: Value; reason: string }) => ({
    name: value.name,
    shape: value.initializer?.dims ?? [],
    reason,
  });
  const batch = artifact ? undefined : (await inferShapes(graph, probe, options)).batch;
  const { sites, skipped } = artifact ? { sites: [], skipped: [] } : findSites(graph);
  return {
    opset: graph.opset,
    irVersion: Number(model.proto.irVersion),
    producer: [model.proto.producerName, model.proto.producerVersion].filter(Boolean).join(" "),
    kind: artifact ? "training-artifact" : block ? "injected" : "model",
    nodes: graph.nodes.length,
    inputs: fedInputs(graph).map(interfaceOf),
    outputs: graph.outputs.map(interfaceOf),
    probedBatch: batch,
    sites: sites.map(({ name, op, units, fanIn, groups, rows, rowsFixed, weight, bias, ...site }) => ({
      ...{ name, op, units, fanIn, groups, rows, rowsFixed, weight: weight.name, bias: bias?.name },
      penalties: Object.fromEntries(
        penaltyNames.map((penalty) => {
          const { definition, options: own } = penaltyNamed(penalty);
          const whole = { ...site, name, op, units, fanIn, groups, rows, rowsFixed, weight, bias };
          return [penalty, definition.applies(whole, own)];
        }),
      ),
    })),
    skipped,
    parameters: found.parameters.map(described),
    constants: found.constants.map(described),
    shared: shared.map(({ value, kind, reason }) => ({ name: value.name, kind, reason })),
    advice: artifact
      ? [
          `it is an artifact of ONNX Runtime's training tools (node "${artifact.label}"): give the forward model instead`,
        ]
      : adviceFor(graph, found.parameters.length),
  };
}

function interfaceOf({ name, type, declared, shape }: Value): InspectedValue {
  return { name, type: type ?? "?", shape: (declared ?? shape ?? []).map((dim) => dim ?? "?") };
}

/** What a user who means to train should know of the file. */
function adviceFor(graph: Graph, parameters: number): string[] {
  const has = (op: string) => graph.nodes.some((node) => node.op === op);
  const advice: string[] = [];
  if (parameters === 0)
    advice.push("nothing in it is trainable: it holds no float initializer that a layer reads");
  const deep = graph.nodes.filter(({ op }) => op === "Conv" || op === "Gemm" || op === "MatMul").length > 1;
  if (deep && !has("BatchNormalization") && !has("Dropout")) {
    advice.push(
      "no BatchNorm, no Dropout: probably exported for inference; to keep them, export in training mode " +
        "(torch.onnx.export(…, training=TrainingMode.TRAINING, do_constant_folding=False))",
    );
  }
  if (has("QuantizeLinear") || has("DequantizeLinear")) {
    advice.push("it is quantized: penalties can be injected, but its quantized layers cannot be trained");
  }
  return advice;
}
