import type { TrainerOptions } from "./trainer-options.ts";

/** Messages about options that begin to act after the last step of a run. */
export function lateStarts(
  { groups = [], swa, optimizer }: Pick<TrainerOptions, "groups" | "swa" | "optimizer">,
  totalSteps: number,
): string[] {
  const start = typeof swa === "object" ? swa.start : swa;
  const mean =
    start !== undefined && start > totalSteps
      ? [
          `the mean of the weights begins at step ${start}, after the last step ${totalSteps}: it is the last weights`,
        ]
      : [];
  const frozen = groups.flatMap(({ match, freezeUntil = 0 }) =>
    freezeUntil >= totalSteps
      ? [`group ${match.source}: frozen until step ${freezeUntil}, and so in all ${totalSteps} steps`]
      : [],
  );
  const batches = optimizer?.name === "accumulate" ? Number(optimizer.options.batches) : 1;
  const none =
    batches > totalSteps
      ? [`the weights are updated once in ${batches} steps, and so in none of the ${totalSteps}`]
      : [];
  return [...mean, ...frozen, ...none];
}
