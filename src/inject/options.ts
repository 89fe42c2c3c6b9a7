import type { DimensionOptions } from "../analysis/dimensions.ts";
import { UsageError } from "../errors.ts";
import { checkKnown, type OptionNames } from "../known-options.ts";
import type { Objective } from "../losses/objective.ts";
import { objectiveNamed } from "../losses/table.ts";
import type { Penalty } from "../penalties/penalty.ts";
import { type PenaltyPlan, type ResolvedPlans, resolvePlans } from "../penalties/plan.ts";
import { checkPlanNames } from "../penalties/plan-names.ts";
import { parseSchedule } from "../schedules/table.ts";

/** Options of inject. */
export interface InjectOptions extends DimensionOptions {
  /**
   * Penalties, each with the layers it acts on. R is their sum over layers. The first weight above 0 is the w of loss + w·R,
   * and the other weights count relative to it, so R of a single penalty is unweighted. Schedules are kept for train; the
   * block itself uses the weights without them.
   */
  readonly penalties: readonly (Penalty | PenaltyPlan)[];
  /** Add one scalar output per layer: `sorth_penalty/<layer>`. */
  readonly perSite?: boolean;
  /** The model's output that is its loss; it becomes loss + w·R. */
  readonly loss?: string;
  /**
   * A loss to add to a model that has none; a name means default options. Adds an input `labels` and an output `loss` =
   * objective + w·R.
   */
  readonly objective?: string | Objective;
  /** The output that the objective compares with the labels; default the first. */
  readonly output?: string;
  /** Receives remarks: layers without a penalty and why, penalties that cannot reach 0. */
  readonly onMessage?: (message: string) => void;
}

const optionNames = {
  ...{
    penalties: "list",
    perSite: "flag",
    loss: "text",
    objective: true,
    output: "text",
    onMessage: "function",
  },
  ...{ batch: true, dims: "lengths", open: "flag", past: "lengths" },
} as const satisfies OptionNames<InjectOptions>;

/** The loss to add, if any. @throws UsageError for an unknown name. */
export const addedObjective = ({ objective }: InjectOptions): Objective | undefined =>
  typeof objective === "string" ? objectiveNamed(objective) : objective;

/** The penalties to inject. @throws UsageError for options that contradict each other or are out of range. */
export function checkedPlans(options: InjectOptions): ResolvedPlans {
  checkKnown("inject", options, optionNames);
  checkPlanNames(options.penalties);
  if (options.loss !== undefined && options.objective !== undefined) {
    throw new UsageError("give either the model's own loss (--loss) or one to add (--objective), not both");
  }
  if (options.output !== undefined && options.objective === undefined) {
    throw new UsageError(`the output "${options.output}" was given without an objective that reads it`);
  }
  addedObjective(options);
  if (options.penalties.length === 0) throw new UsageError("no penalty was given; add one, such as som()");
  const resolved = resolvePlans(options.penalties);
  const timed = resolved.plans.find(({ schedule }) => typeof schedule === "function");
  if (timed) {
    throw new UsageError(
      `the schedule of the penalty ${timed.label} is a function, which a model cannot keep; give it as text`,
    );
  }
  for (const { schedule } of resolved.plans) if (typeof schedule === "string") parseSchedule(schedule);
  return resolved;
}
