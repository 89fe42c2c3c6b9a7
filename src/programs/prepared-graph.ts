import type { Site, SkippedSite } from "../analysis/site-types.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Graph } from "../graph/graph.ts";
import type { Value } from "../graph/node.ts";
import type { NamedTerm } from "../losses/terms.ts";
import type { ResolvedPlans } from "../penalties/plan.ts";
import type { LossOptions } from "./options.ts";

/** What a model says of a parameter. */
interface ParameterFacts {
  /** Every name that a user may use for it. */
  readonly names: readonly string[];
  /** Whether weight decay is commonly left off it. */
  readonly undecayed: boolean;
}

/** The losses that compare the model with a teacher, which is part of the graph. */
export interface TaughtLosses {
  /** The teacher's value that each of them reads, by the name of its term. */
  readonly values: ReadonlyMap<string, Value>;
  /** Emits the labels that such a loss reads, in the shape of its prediction. */
  readonly labels: (g: Emit, term: NamedTerm, prediction: Typed, value: Typed) => Typed;
}

/** A model's graph with its shapes known, brought to the opset and the form that gradients are written in. */
export interface PreparedGraph {
  readonly graph: Graph;
  readonly emit: Emit;
  /** Prefix of an input or output whose own name is taken. */
  readonly taken: string;
  /** The batch size that stands in its shapes; undefined where the model fixes all of them. */
  readonly batch: number | undefined;
  /** The trained parameters: initializers of the graph, until {@link Program.feed} makes inputs of them. */
  readonly parameters: readonly Value[];
  /** By the name of a parameter, its facts that later rewrites hide; empty unless asked for. */
  readonly described: ReadonlyMap<string, ParameterFacts>;
  /** The values that were to be kept ({@link PrepareOptions.choose}), in that order: those that are in their place now. */
  readonly held: readonly Value[];
  /** Names of the values at which gradients stop. */
  readonly detached: readonly string[];
  /** Says which layers stay frozen because their weights are stored as quantized numbers; undefined if there are none. */
  readonly frozen?: string | undefined;
  readonly sites: readonly Site[];
  readonly skipped: readonly SkippedSite[];
  /** Penalties to add: the options', or those of the model's injected block, which is gone from the graph. */
  readonly penalties: ResolvedPlans;
  /** The losses that are models and became part of the graph: the output of each, by the name of its term. */
  readonly lossModels: ReadonlyMap<string, Value>;
  /** The inputs that they added, for labels and other targets. */
  readonly lossInputs: readonly Value[];
  /** Absent without a teacher. */
  readonly taught?: TaughtLosses;
  /** The value that a loss reads in the place of another, with its samples first; absent where the first axis counts them anyway. */
  readonly samplesFirst?: (objective: object, value: Value) => Value;
  /** Emits the embeddings that a loss reads; absent without such a loss. */
  readonly embeddingsOf?: (prepared: PreparedGraph, term: NamedTerm, options: LossOptions) => Typed;
}
