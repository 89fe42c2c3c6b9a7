import type { Seed } from "../autodiff/walk.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { subjectOf } from "../penalties/applies.ts";
import { type PlanPenalty, penaltyParts, seedsOf, sumOverPlans } from "../penalties/assemble.ts";
import type { BuildOptions, PenaltyPart } from "../penalties/build.ts";
import { type ResolvedPlan, tellSchedules } from "../penalties/plan.ts";
import type { LossOptions } from "./options.ts";
import type { PreparedGraph } from "./prepared-graph.ts";

/** The scalars and random numbers that a graph supplies to its penalties. */
export interface PenaltyInputs {
  /** The scalar by which all penalties are multiplied; undefined for 1. */
  readonly weight?: (type: "float" | "double") => Typed | undefined;
  /** A scalar for the schedule of one plan among several. */
  readonly schedule?: (plan: ResolvedPlan, type: "float" | "double") => Typed;
  /** Random numbers; default constants. */
  readonly draw?: BuildOptions["draw"];
}

/** The penalties of a graph. */
export interface PenaltyTerm {
  /** R: `Σ factor · schedule · value` of the parts. */
  readonly penalty: Typed;
  readonly parts: readonly PlanPenalty[];
  /** weight · R. */
  readonly weighted: Typed;
  /** Where the gradient of weight · R enters. */
  readonly seeds: readonly Seed[];
  /** Each penalty of each layer, and the factor of a plan's penalties in the loss, emitted when called; undefined for 1. */
  readonly each: readonly PenaltyPart[];
  readonly weightOf: (plan: ResolvedPlan) => Typed | undefined;
  /** Names of the sites that have a penalty. */
  readonly penalized: readonly string[];
}

/**
 * Adds the penalties of a prepared graph as scalars of the given type; adds nothing if there are none.
 * @param prediction - the value that the objective reads; a penalty on it gets a remark
 */
export function emitPenalties(
  prepared: PreparedGraph,
  options: LossOptions,
  type: "float" | "double",
  inputs: PenaltyInputs,
  prediction?: Typed,
): PenaltyTerm | undefined {
  const { emit } = prepared;
  const { plans } = prepared.penalties;
  if (plans.length === 0) return undefined;
  const built = penaltyParts(emit, plans, prepared, {
    checked: options.penalties !== undefined && options.penalties.length > 0,
    refuse: ({ quantized }) => (quantized ? "refused: quantized" : undefined),
    tell: options.onMessage ?? (() => {}),
    ...(inputs.draw && { draw: inputs.draw }),
  });
  tellOfOutput(built, prediction, options);
  const weight = inputs.weight?.(type);
  const { total: penalty, sums: parts } = sumOverPlans(emit, built, plans, type, (plan) =>
    plans.length > 1 && plan.schedule !== undefined ? inputs.schedule?.(plan, type) : undefined,
  );
  const weights = new Map(parts.map((part) => [part.plan, planWeight(emit, part, weight, type)] as const));
  const weightOf = (plan: ResolvedPlan) => weights.get(plan)?.();
  return {
    ...{ penalty, parts, each: built, weightOf },
    weighted: weight ? emit.mul(penalty, weight) : penalty,
    seeds: seedsOf(emit, built, ({ plan }) => weightOf(plan)),
    penalized: [...new Set(built.map(({ site }) => site.name))],
  };
}

/** The factor of a plan's penalties in the loss, emitted when called; undefined for 1. */
function planWeight(
  emit: Emit,
  { plan, schedule }: PlanPenalty,
  weight: Typed | undefined,
  type: "float" | "double",
): () => Typed | undefined {
  return () => {
    if (plan.factor === 1 && !schedule) return weight;
    return emit.once(`weight of ${plan.label}`, () => {
      const all = weight ? emit.mul(weight, plan.factor) : emit.scalar(plan.factor, type);
      return schedule ? emit.mul(all, schedule) : all;
    });
  };
}

/** Warns about penalties on responses of the last layer: the loss already shapes these, and pushing them apart works against it. */
function tellOfOutput(
  parts: readonly PenaltyPart[],
  prediction: Typed | undefined,
  { onMessage = () => {} }: LossOptions,
): void {
  for (const { site, plan } of parts) {
    if (site.response !== prediction || subjectOf(plan.penalty) !== "responses") continue;
    const { definition, options } = plan.penalty;
    if (definition.sparesLoss?.(options)) continue;
    onMessage(
      `${site.name}: ${plan.label} acts on the model's output too, against the loss; consider excluding this layer (docs/regularizers.md of sorth-onnx)`,
    );
  }
}

/** The weight of all penalties as a constant, for graphs without an input for it. */
export function constantWeight(
  { emit, penalties: { weight, plans } }: PreparedGraph,
  { onMessage }: LossOptions,
): PenaltyInputs {
  if (onMessage) tellSchedules(plans, onMessage);
  return { weight: (type) => (weight === 1 ? undefined : emit.scalar(weight, type)) };
}

/** The same graph without penalties to add. */
export const withoutPenalties = (prepared: PreparedGraph): PreparedGraph => ({
  ...prepared,
  penalties: { weight: 1, plans: [] },
});
