import { isTrainingForm } from "../analysis/batch-norm-form.ts";
import { stepPrefix } from "../analysis/block-nodes.ts";
import type { Probe } from "../analysis/probe.ts";
import { constantTensor } from "../analysis/probe-model.ts";
import { UsageError } from "../errors.ts";
import { shardsDomain } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import type { Node, Value } from "../graph/node.ts";
import { ancestorsOf } from "../graph/reach.ts";
import { normalizeAxis } from "../graph/shapes.ts";
import { termsOf } from "../losses/terms.ts";
import type { Model } from "../onnx/model.ts";
import { subjectOf } from "../penalties/applies.ts";
import { resolvePlans } from "../penalties/plan.ts";
import { barlow } from "../penalties/responses/barlow.ts";
import { decov } from "../penalties/responses/decov.ts";
import { vicreg } from "../penalties/responses/vicreg.ts";
import { som } from "../penalties/som.ts";
import { prepare } from "../programs/prepare.ts";
import type { StepOptions } from "../programs/step.ts";
import { trainingForm } from "../programs/training-gradients.ts";

/** Penalties on responses that sum over all shards. */
const exactPenalties: ReadonlySet<unknown> = new Set(
  [som, decov, barlow, vicreg].map((one) => one().definition),
);

/**
 * Refuses what would not be exact over the shards of a batch: a penalty of the user's own on responses, and a model or a loss
 * that computes over the samples of a batch otherwise than by the mean at its end. Samples are followed through the graph by
 * their axis, whose length changes with the batch.
 * @param options - `batch` counts the samples of one shard
 * @throws UsageError naming the penalty, or the node or the loss
 */
export async function checkRows(
  model: Model,
  options: StepOptions,
  { shards, probe }: { readonly shards: number; readonly probe: Probe },
): Promise<void> {
  for (const { penalty } of resolvePlans(options.penalties ?? []).plans) {
    if (subjectOf(penalty) !== "responses" || exactPenalties.has(penalty.definition)) continue;
    throw new UsageError(
      `exact (--exact): the penalty ${penalty.definition.name} of your own computes over one shard's samples; leave it out, or leave exact out`,
    );
  }
  const { batch } = options;
  if (batch === undefined) return;
  const quiet = { ...options, onMessage: () => {} };
  const [one, two] = await Promise.all(
    [batch, 2 * batch].map(async (rows) => {
      const program = await prepare(model, { ...quiet, batch: rows }, probe, {
        ...{ passes: trainingForm(model, options), masters: true, shards },
      });
      const { dataLoss, terms } = program.dataLoss();
      const places = terms.map((term) => term.places ?? term.value);
      return { program, ends: terms.length > 0 ? places : [dataLoss] };
    }),
  );
  if (!one || !two) return;
  const names = options.objective ? termsOf(options.objective, options.output).map(({ name }) => name) : [];
  const rows = new Rows(one.program.graph, two.program.graph);
  const responses = one.program.prepared.sites.map(({ response }) => response);
  const needed = ancestorsOf([...one.ends, ...responses]);
  for (const node of one.program.graph.sorted()) {
    if (!needed.has(node)) continue;
    const reason = rows.follow(node);
    if (reason === undefined) continue;
    const loss = names.length > 0 ? `the loss ${names.join(" + ")}` : "the model's own loss";
    const where = node.name.startsWith(stepPrefix) ? loss : `${node.op} node "${node.label}"`;
    throw new UsageError(
      `exact (--exact): ${where} ${reason}, of which a shard has only its own: leave exact out, or train on one machine`,
    );
  }
}

/** What a value is to a batch: "same" for all samples, "rows": something for each sample, "mean" over the samples. */
type Kind = "same" | "rows" | "mean";

/** Operators through which a mean stays one. */
const linear = new Set([
  ...["Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Neg", "Add", "Sub", "Sum", "Mul", "Div"],
  ...["ReduceMean", "ReduceSum", "Flatten", "Expand"],
]);
const losses = new Set(["SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"]);

class Rows {
  /** The same graph for a batch twice as long. */
  readonly #longer: Graph;
  readonly #kinds = new Map<Value, Kind>();

  constructor(graph: Graph, longer: Graph) {
    this.#longer = longer;
    for (const input of graph.inputs) this.#kinds.set(input, this.#axes(input)?.length ? "rows" : "same");
  }

  /** The axes that count samples; undefined where they are not known. */
  #axes(value: Value): number[] | undefined {
    const other = this.#longer.value(value.name);
    if (!value.shape || other?.shape?.length !== value.shape.length) return undefined;
    if (other.producer?.op !== value.producer?.op) return undefined;
    return value.shape.flatMap((length, axis) => (length === other.shape?.[axis] ? [] : [axis]));
  }

  #kind = (value: Value | null): Kind => (value && this.#kinds.get(value)) || "same";

  /** Decides what a node's outputs are. @returns what it does over samples that is not exact over shards */
  follow(node: Node): string | undefined {
    const reads = [...node.inputs, ...node.captures];
    const kinds = new Set(reads.map(this.#kind));
    const set = (kind: Kind) => {
      for (const output of node.outputs) if (output) this.#kinds.set(output, kind);
    };
    if (node.domain === shardsDomain) return void set("same");
    if (kinds.has("mean")) {
      const [first, second] = [0, 1].map((i) => this.#kind(node.inputs[i] ?? null) === "same");
      const scales = node.op === "Mul" ? first || second : node.op !== "Div" || second;
      if (linear.has(node.op) && !kinds.has("rows") && scales) return void set("mean");
      return "computes with a mean over the samples";
    }
    if (!kinds.has("rows")) return void set("same");
    set("rows");
    if (node.op === "BatchNormalization" && isTrainingForm(node)) return undefined;
    const counting = reads.map((value) => (value && this.#kind(value) === "rows" ? this.#axes(value) : []));
    const along = axesOf(node);
    const rank = node.inputs[0]?.shape?.length ?? 0;
    if (along && counting[0]?.some((axis) => along.some((one) => normalizeAxis(one, rank) === axis))) {
      return "computes along the samples of the batch";
    }
    for (const output of node.outputs) {
      const axes = output && this.#axes(output);
      if (!output || !axes) continue;
      if (axes.length > 1) return "compares the samples of the batch with each other";
      if (axes.length === 1) continue;
      const reduction = node.string("reduction", "mean");
      const counts = node.attributes.has("ignore_index") || node.inputs[2];
      if (node.op !== "ReduceMean" && !(losses.has(node.op) && reduction === "mean" && !counts)) {
        return counting.every((some) => some !== undefined)
          ? "sums over the samples of the batch"
          : undefined;
      }
      this.#kinds.set(output, "mean");
    }
    return undefined;
  }
}

/** The axes of its first input along which an operator computes, though it keeps them. */
function axesOf(node: Node): readonly number[] | undefined {
  const rank = node.inputs[0]?.shape?.length ?? 0;
  const behind = (axis: number) => Array.from({ length: rank - axis }, (_, i) => axis + i);
  const given = (index: number) => {
    const value = node.inputs[index];
    return value && constantTensor(value)?.numbers();
  };
  switch (node.op) {
    case "Softmax":
    case "LogSoftmax":
    case "Hardmax":
    case "LpNormalization":
    case "TopK":
      return [node.int("axis", -1)];
    case "Concat":
    case "Split":
    case "Gather":
    case "GatherElements":
    case "ScatterElements":
      return [node.int("axis", 0)];
    case "LayerNormalization":
    case "RMSNormalization":
      return behind(normalizeAxis(node.int("axis", -1), rank));
    case "CumSum":
      return [...(given(1) ?? [])];
    case "Slice":
      return [...(given(3) ?? behind(0).slice(0, given(1)?.length))];
    default:
      return undefined;
  }
}
