import { checkMatches, matchesAny } from "../analysis/name-patterns.ts";
import { listed, UsageError } from "../errors.ts";
import { checkOptions, checkPattern } from "../known-options.ts";
import { checkNumber, count, notNegative } from "../numbers.ts";
import type { GradientTransformation } from "../optimizers/transformation.ts";
import type { ParameterGroup, UpdateOptions } from "./options.ts";
import type { TrainingGradients, TrainingOptions } from "./training-gradients.ts";
import type { GroupRate, TrainedParameter } from "./update.ts";

/**
 * Sets parameters apart as the options say, and tells which.
 * @throws UsageError for a group that has no parameter or changes nothing, and for a weight decay without effect
 */
export function grouped(
  { program, trained }: TrainingGradients,
  {
    groups = [],
    noDecay = false,
    learningRate,
    onMessage,
  }: TrainingOptions & UpdateOptions & { readonly learningRate?: number },
  optimizer: GradientTransformation,
): { readonly trained: readonly TrainedParameter[]; readonly groups: readonly GroupRate[] } {
  for (const group of groups) checkGroup(group);
  const facts = trained.map(({ name }) => program.prepared.described.get(name));
  const known = facts.map((one, i) => one?.names ?? [trained[i]?.name ?? ""]);
  const numbers = known.map((names) => groups.findIndex(({ match }) => matchesAny(match, names)));
  const undecayed = facts.map((one) => noDecay && (one?.undecayed ?? false));
  checkDecay(groups, optimizer, noDecay, undecayed);
  for (const [i, group] of groups.entries()) {
    checkMatches("--group", group.match, "trained parameter", known);
    const own = numbers.flatMap((number, at) => (number === i ? [at] : []));
    if (own.length === 0) throw fault(group, "matches only parameters of groups before it: give it first");
    if (group.weightDecay !== undefined && own.every((at) => undecayed[at])) {
      throw fault(group, "has a weight decay, but noDecay (--no-decay) is on for all its parameters");
    }
    onMessage?.(`group ${group.match.source}: ${textOf(group)} (${namesAt(trained, own)})`);
  }
  const exempt = undecayed.flatMap((is, at) => (is ? [at] : []));
  if (noDecay) onMessage?.(`no weight decay: ${exempt.length} parameters (${namesAt(trained, exempt)})`);
  const withRate = groups.filter((group) => group.learningRate !== undefined);
  if (
    learningRate !== undefined &&
    numbers.every((number) => withRate.includes(groups[number] as ParameterGroup))
  ) {
    throw new UsageError(
      "the learning rate (--lr) has no effect: every trained parameter belongs to a group with one of its own",
    );
  }
  return {
    trained: trained.map((parameter, i) => {
      const group = groups[numbers[i] ?? -1];
      const weightDecay = undecayed[i] ? 0 : group?.weightDecay;
      const rate = group && withRate.includes(group) ? withRate.indexOf(group) : undefined;
      return { ...parameter, group: { weightDecay, idle: group?.freezeUntil, rate } };
    }),
    groups: withRate.map((group) => ({
      name: `learning_rate.${groups.indexOf(group) + 1}`,
      rate: group.learningRate ?? Number.NaN,
    })),
  };
}

function checkGroup(group: ParameterGroup): void {
  checkOptions("a group of parameters", group);
  const { match, learningRate, weightDecay, freezeUntil } = group;
  checkPattern("match", match);
  checkNumber(`the learning rate of the group ${match.source}`, learningRate, notNegative);
  checkNumber(`the weight decay of the group ${match.source}`, weightDecay, notNegative);
  checkNumber(`the step until which the group ${match.source} is frozen`, freezeUntil, count);
  if ([learningRate, weightDecay, freezeUntil].some((value) => value !== undefined)) return;
  throw fault(group, "changes nothing: give it lr, weight-decay or freeze-until");
}

/** @throws UsageError where a weight decay would be replaced that the optimizer does not have, or has twice */
function checkDecay(
  groups: readonly ParameterGroup[],
  optimizer: GradientTransformation,
  noDecay: boolean,
  undecayed: readonly boolean[],
): void {
  const decays = decaysOf(optimizer);
  const group = groups.find(({ weightDecay }) => weightDecay !== undefined);
  if (group && decays.length !== 1) {
    const has = decays.length === 0 ? "has no weight decay" : `decays weights ${decays.length} times`;
    throw fault(
      group,
      `has a weight decay, but the optimizer ${optimizer.name} ${has}: give it one to replace`,
    );
  }
  // Only the last group is checked: one before another keeps its parameters out of that one, even if it changes nothing itself.
  const last = groups.at(-1);
  const { weightDecay, learningRate, freezeUntil } = last ?? {};
  if (last && learningRate === undefined && freezeUntil === undefined && weightDecay === decays[0]) {
    throw fault(last, `changes nothing: ${weightDecay} is the weight decay of the optimizer`);
  }
  if (!noDecay) return;
  if (decays.every((decay) => decay === 0) && groups.every(({ weightDecay = 0 }) => weightDecay === 0)) {
    throw new UsageError(
      "noDecay (--no-decay) has no effect: the optimizer has no weight decay; give one (--weight-decay)",
    );
  }
  if (undecayed.includes(true)) return;
  throw new UsageError(
    "noDecay (--no-decay) has no effect: no trained parameter is a bias, belongs to a normalization or has fewer than two axes",
  );
}

/** The weight decays of the members of an optimizer. */
function decaysOf({ options, parts = [], inner }: GradientTransformation): number[] {
  const own = typeof options.weightDecay === "number" ? [options.weightDecay] : [];
  return [...own, ...[...parts, ...(inner ? [inner] : [])].flatMap(decaysOf)];
}

const fault = ({ match }: ParameterGroup, what: string): UsageError =>
  new UsageError(`the group ${match.source} (--group) ${what}`);

const namesAt = (trained: readonly TrainedParameter[], at: readonly number[]): string =>
  listed(at.map((i) => trained[i]?.name ?? ""));

function textOf({ learningRate, weightDecay, freezeUntil }: ParameterGroup): string {
  const said = [
    learningRate !== undefined && `learning rate ${learningRate}`,
    weightDecay !== undefined && `weight decay ${weightDecay}`,
    freezeUntil !== undefined && `frozen until step ${freezeUntil}`,
  ];
  return said.filter(Boolean).join(", ");
}
