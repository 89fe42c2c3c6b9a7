import type { Site, SkippedSite } from "../analysis/site-types.ts";
import type { Seed } from "../autodiff/walk.ts";
import { listed, SorthError, UsageError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import { type BuildOptions, buildPenalties, type PenaltyPart } from "./build.ts";
import { checkChoices, chooses, type ResolvedPlan } from "./plan.ts";

/** The layers of a graph, and operators that look like layers but take no penalty. */
export interface FoundLayers {
  readonly sites: readonly Site[];
  readonly skipped: readonly SkippedSite[];
}

/** How the penalties of a graph are emitted. */
interface PartOptions extends BuildOptions {
  /** Whether a pattern that matches no layer is an error; false for the patterns of a block, which inject has checked. */
  readonly checked: boolean;
}

/**
 * Emits every penalty for every layer that takes it, and reports each layer that takes none, with the reason.
 * @throws UsageError if the patterns select no layer; SorthError if no layer can take a penalty
 */
export function penaltyParts(
  g: Emit,
  plans: readonly ResolvedPlan[],
  { sites, skipped }: FoundLayers,
  { checked, tell, ...options }: PartOptions,
): PenaltyPart[] {
  const reasons: string[] = [];
  const note = (message: string) => {
    reasons.push(message);
    tell(message);
  };
  for (const { name, reason } of skipped) note(`${name}: no penalty: ${reason}`);
  if (checked) checkChoices(plans, sites, skipped);
  if (sites.length > 0 && !sites.some((site) => plans.some((plan) => chooses(plan, site)))) {
    const names = listed(sites.map(({ name }) => name));
    throw new UsageError(`--include and --exclude leave no layer; the model has ${names}`);
  }
  const parts = buildPenalties(g, plans, sites, { ...options, tell: note });
  if (parts.length > 0) return parts;
  // Layers that another penalty could take come first, because the user can choose that penalty.
  const ordered = [...reasons.slice(skipped.length), ...reasons.slice(0, skipped.length)];
  const why = ordered.length === 0 ? "it has none with a weight" : ordered.slice(0, 3).join("; ");
  throw new SorthError(`no layer of the model can take a penalty (${why})`);
}

/** The penalties of one layer, added up. */
interface SitePenalty {
  readonly site: Site;
  /** Labels of the plans that act on it. */
  readonly labels: readonly string[];
  /** Σ factor · value of its penalties, a scalar. */
  readonly value: Typed;
}

/**
 * R as a sum over layers. Injected files use it, because each layer's part can be an output there.
 * @returns R in float64 if every part has that type, else in float32
 */
export function sumOverSites(
  g: Emit,
  parts: readonly PenaltyPart[],
): { readonly total: Typed; readonly sites: readonly SitePenalty[] } {
  const sites = [...new Set(parts.map(({ site }) => site))].map((site): SitePenalty => {
    const own = parts.filter((part) => part.site === site);
    const value = own
      .map((part) => scaled(g, part.value, part.plan.factor))
      .reduce((sum, one) => g.add(sum, g.cast(one, sum.type)));
    return { site, labels: own.map(({ plan }) => plan.label), value };
  });
  const type = sites.every(({ value }) => value.type === "double") ? "double" : "float";
  return {
    total: sum(
      g,
      sites.map(({ value }) => g.cast(value, type)),
    ),
    sites,
  };
}

/** The penalties of one plan, added up over its layers. */
export interface PlanPenalty {
  readonly plan: ResolvedPlan;
  /** Σ value over its layers, a scalar. */
  readonly value: Typed;
  /** The scalar that carries its schedule; undefined if it has no input of its own. */
  readonly schedule: Typed | undefined;
}

/**
 * R as a sum over plans. Training programs use it, because each plan has its own schedule and figures there.
 * @param plans - in the order of the sum; a plan without a part is left out
 * @param type - the type of R and every part
 * @param scheduleOf - the scalar that multiplies a plan's part; undefined for 1
 */
export function sumOverPlans(
  g: Emit,
  parts: readonly PenaltyPart[],
  plans: readonly ResolvedPlan[],
  type: "float" | "double",
  scheduleOf: (plan: ResolvedPlan) => Typed | undefined,
): { readonly total: Typed; readonly sums: readonly PlanPenalty[] } {
  const sums = plans.flatMap((plan): PlanPenalty[] => {
    const own = parts.filter((part) => part.plan === plan).map(({ value }) => g.cast(value, type));
    return own.length === 0 ? [] : [{ plan, schedule: scheduleOf(plan), value: sum(g, own) }];
  });
  const weighted = sums.map(({ plan, value, schedule }) => {
    const relative = scaled(g, value, plan.factor);
    return schedule ? g.mul(relative, schedule) : relative;
  });
  return { total: sum(g, weighted), sums };
}

/**
 * Where the gradient of weight · R enters the reverse walk: at the values that a penalty reads if it has a closed form, else
 * at the penalty's value.
 * @param weightOf - the factor of a part in the loss, emitted when called; undefined for 1
 */
export const seedsOf = (
  g: Emit,
  parts: readonly PenaltyPart[],
  weightOf: (part: PenaltyPart) => Typed | undefined,
): Seed[] =>
  parts.flatMap((part): Seed[] => {
    const { value, slopes } = part;
    if (slopes)
      return slopes.map(({ of, gradient }) => ({ value: of, gradient: () => gradient(weightOf(part)) }));
    return [{ value, gradient: () => g.cast(weightOf(part) ?? g.scalar(1, value.type), value.type) }];
  });

const sum = (g: Emit, values: readonly Typed[]): Typed => values.reduce((a, b) => g.add(a, b));

const scaled = (g: Emit, value: Typed, factor: number): Typed =>
  factor === 1 ? value : g.mul(value, factor);
