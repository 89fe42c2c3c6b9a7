import { UsageError } from "../errors.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import { afterEachUpdate } from "../optimizers/accumulate.ts";
import type { GradientTransformation } from "../optimizers/transformation.ts";
import { applyPenalties } from "../optimizers/transformations/apply-penalties.ts";
import { subjectOf } from "../penalties/applies.ts";
import { seedsOf } from "../penalties/assemble.ts";
import type { PenaltyPart } from "../penalties/build.ts";
import { weightOf } from "../penalties/layer.ts";
import type { LossGraph } from "./loss-graph.ts";
import type { LossScaling } from "./loss-scaling.ts";
import type { LossOptions, PenaltyApplication, PrecisionOptions } from "./options.ts";
import type { PenaltyTerm } from "./penalty-graph.ts";
import type { Program } from "./program.ts";
import type { TrainedParameter } from "./update.ts";

type Apart = Exclude<PenaltyApplication, "loss">;
/** The options that make a second pass through the network impossible. */
type PassOptions = Pick<LossOptions, "checkpointEvery"> & PrecisionOptions;

/** An optimizer beside which penalties are applied, once for each of its updates. */
export const besideOptimizer = (optimizer: GradientTransformation, how: Apart): GradientTransformation => {
  if (how === "decoupled" || how === "retraction") return afterEachUpdate(optimizer, applyPenalties(how));
  throw new UsageError(
    `applyPenalties (--apply) takes loss, decoupled or retraction, not "${String(how)}": see docs/training.md of sorth-onnx`,
  );
};

/**
 * The trained parameters with the gradient of the loss of the data, and that of the penalties apart from it.
 * @throws UsageError for a model without penalties, and for penalties that cannot be applied so
 */
export async function trainedApart(
  program: Program,
  loss: LossGraph,
  options: PassOptions & { readonly how: Apart },
  scaling: LossScaling | undefined,
): Promise<readonly TrainedParameter[]> {
  const { added } = loss;
  const { how } = options;
  if (!added) throw new UsageError(`applyPenalties (--apply ${how}) has no effect: the run has no penalty`);
  const data = { ...loss, seeds: loss.dataSeeds };
  const { parameters } = program.prepared;
  const alone = scaling?.scaled(data) ?? data;
  if (how === "retraction") {
    const gradients = await program.gradients(alone, parameters);
    return apart(program, gradients, await retractions(program, added));
  }
  checkDecoupled(added, options);
  const [gradients = new Map(), own = new Map()] = await program.gradientsOfEach(
    [alone.seeds, added.seeds],
    parameters,
  );
  return apart(program, gradients, new Map([...own].map(([value, gradient]) => [value, () => gradient])));
}

/** The trained parameters; one on which only a penalty depends has 0 as the gradient of the loss. */
function apart(
  program: Program,
  gradients: Map<Value, Typed>,
  penaltyGradients: ReadonlyMap<Value, (at: Typed) => Typed>,
): readonly TrainedParameter[] {
  for (const value of penaltyGradients.keys()) {
    if (gradients.has(value)) continue;
    const { shape, type } = value as Typed;
    gradients.set(value, program.emit.filled(0, shape, type));
  }
  return program.trained(gradients).map((parameter) => {
    const penaltyGradient = penaltyGradients.get(parameter.value);
    return penaltyGradient ? { ...parameter, penaltyGradient } : parameter;
  });
}

/** @throws UsageError where the gradient of a penalty would run through the whole network a second time, in a form made for one pass */
function checkDecoupled({ each }: PenaltyTerm, { precision, checkpointEvery }: PassOptions): void {
  const onResponses = each.find(({ plan }) => subjectOf(plan.penalty) === "responses")?.plan.label;
  if (onResponses === undefined) return;
  const flag =
    precision !== undefined && precision !== "float32"
      ? `precision (--precision ${precision})`
      : checkpointEvery !== undefined && "checkpointEvery (--checkpoint-every)";
  if (!flag) return;
  throw new UsageError(
    `${onResponses} acts on responses, so its gradient of its own needs a second pass through the network, which ${flag} does not have: leave one out, or apply the penalty in the loss`,
  );
}

/**
 * For each trained weight the gradient of its penalties where it stands after its update.
 * @throws UsageError for penalties on responses, and for weights that a model computes
 */
async function retractions(
  program: Program,
  { each, weightOf: factorOf }: PenaltyTerm,
): Promise<ReadonlyMap<Value, (at: Typed) => Typed>> {
  const { parameters } = program.prepared;
  const found = new Map<Value, PenaltyPart[]>();
  for (const part of each) {
    const { plan, site } = part;
    if (subjectOf(plan.penalty) === "responses") {
      throw refused(`${plan.label} acts on responses`);
    }
    const stored = uncast(weightOf(site));
    // A frozen layer has a constant.
    if (!stored || (!stored.producer && !parameters.includes(stored))) continue;
    if (stored.producer) throw refused(`the model computes the weight of "${site.name}"`);
    found.set(stored, [...(found.get(stored) ?? []), part]);
  }
  if (found.size === 0) throw refused("no trained weight has a penalty");
  const differentiate = await program.differentiator();
  return new Map(
    [...found].map(([weight, parts]) => [
      weight,
      (at: Typed) => {
        const moved = parts.map((part) => ({ ...part, ...part.at(at) }));
        const seeds = seedsOf(program.emit, moved, ({ plan }) => factorOf(plan));
        return differentiate(seeds, [at]).get(at) ?? program.emit.filled(0, at.shape, at.type);
      },
    ]),
  );
}

/** The value behind the Casts of half precision. */
const uncast = (value: Value | undefined): Value | undefined =>
  value?.producer?.op === "Cast" ? uncast(value.producer.inputs[0] ?? undefined) : value;

const refused = (why: string): UsageError =>
  new UsageError(
    `--apply retraction (applyPenalties) is for penalties on weights that the model stores, but ${why}: apply the penalty decoupled, or in the loss`,
  );
