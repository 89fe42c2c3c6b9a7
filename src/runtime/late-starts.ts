import type { TrainerOptions } from "./trainer-options.ts";

/** Messages about options that begin to act after the last step of a run. */
export function lateStarts(
  { groups = [], swa }: Pick<TrainerOptions, "groups" | "swa">,
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
  return [...mean, ...frozen];
}
