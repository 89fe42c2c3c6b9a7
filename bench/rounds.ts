import { messageOf } from "../src/errors.ts";
import { type Contender, own, type Start } from "./contender.ts";

/** Number of first steps whose losses must agree before anything is timed. */
const firstSteps = 3;
/** Largest permitted relative difference of these losses. */
const tolerance = 1e-3;
/** Most steps of a round. This library does up to 32 at once, and each round must hold whole runs: powers of two. */
const mostSteps = 64;
/** A round that took longer than this times the contender's fastest is done again, and the faster one counts. */
const disturbed = 1.25;
/** How often a disturbed round is done again at most. */
const repetitions = 3;

/** Peak resident memory in MiB. */
export interface Memory {
  /** Of the process before it loads the model. */
  readonly baseline: number;
  /** While it gets ready: to the end of the first steps. */
  readonly start: number;
  /** During the timed steps. */
  readonly steps: number;
}

/** What was measured of a contender. */
export interface Outcome {
  readonly contender: Contender;
  start?: Start;
  memory?: Memory;
  /** Mean milliseconds per step of each round. */
  rounds: number[];
  /** How many of them were done again, because another machine on the same host slowed them down. */
  repeated: number;
  /** Why it was not measured, or not to the end. */
  error?: string;
}

/** The amount of timing. */
export interface Timing {
  readonly rounds: number;
  /** Least milliseconds that a contender runs in each round. */
  readonly milliseconds: number;
  /** Prints a line of progress. */
  readonly say: (text: string) => void;
}

/**
 * Starts all contenders, compares their first losses and times them in turns, round by round. A contender that fails keeps its
 * message, and the others go on.
 */
export async function measure(contenders: readonly Contender[], timing: Timing): Promise<Outcome[]> {
  const outcomes: Outcome[] = contenders.map((contender) => ({ contender, rounds: [], repeated: 0 }));
  const going = () => outcomes.filter(({ error }) => error === undefined);
  const attempt = async (outcome: Outcome, action: () => Promise<void>): Promise<void> => {
    if (outcome.error !== undefined) return;
    await action().catch((error) => {
      outcome.error = messageOf(error);
      timing.say(`${titleOf(outcome)}: ${outcome.error}`);
    });
  };
  const baselines = new Map<Outcome, number>();
  await Promise.all(
    outcomes.map((outcome) =>
      attempt(outcome, async () => void baselines.set(outcome, await outcome.contender.peak())),
    ),
  );
  // One after another: threads that wait by spinning slow each other down.
  for (const outcome of outcomes) {
    await attempt(outcome, async () => {
      outcome.start = await outcome.contender.start(firstSteps);
      const losses = outcome.start.losses.map((loss) => loss.toFixed(6)).join(", ");
      timing.say(`${titleOf(outcome)}: ready in ${outcome.start.seconds.toFixed(1)} s, losses ${losses}`);
    });
  }
  for (const [outcome, why] of disagreements(going())) await attempt(outcome, () => Promise.reject(why));
  const steps = new Map<Outcome, number>();
  for (const outcome of going()) {
    await attempt(outcome, async () => {
      const start = await outcome.contender.peak();
      steps.set(outcome, await stepsOfRound(outcome.contender, timing.milliseconds));
      outcome.memory = { baseline: baselines.get(outcome) ?? Number.NaN, start, steps: Number.NaN };
    });
  }
  const timed = async (outcome: Outcome): Promise<number> => {
    const count = steps.get(outcome) ?? 1;
    // Wait until the threads of the previous contender stop spinning; then steps with cold caches, which do not count.
    await new Promise((resolve) => setTimeout(resolve, 50));
    await outcome.contender.run(Math.max(1, count / 4));
    return outcome.contender.run(count);
  };
  for (let round = 0; round < timing.rounds; round++) {
    // Another contender begins each round, so that none always follows the same one.
    for (const outcome of rotated(going(), round)) {
      await attempt(outcome, async () => void outcome.rounds.push(await timed(outcome)));
    }
    const times = going().map((outcome) => `${titleOf(outcome)} ${outcome.rounds.at(-1)?.toFixed(2)}`);
    timing.say(`round ${round + 1} of ${timing.rounds}, ms: ${times.join("; ")}`);
  }
  for (let time = 0; time < repetitions; time++) {
    for (const outcome of going()) await attempt(outcome, () => again(outcome, timed));
  }
  for (const outcome of going()) {
    await attempt(outcome, async () => {
      const peak = await outcome.contender.peak();
      if (outcome.memory) outcome.memory = { ...outcome.memory, steps: peak };
    });
  }
  for (const { contender } of outcomes) await contender.close().catch(() => {});
  return outcomes;
}

/**
 * Does a contender's disturbed rounds again. The two processors of a virtual machine lie on one core of its host for seconds to
 * minutes: two threads are then as fast as one, and nothing inside the machine shows it, neither load nor stolen time.
 */
export async function again(outcome: Outcome, timed: (outcome: Outcome) => Promise<number>): Promise<void> {
  const limit = disturbed * Math.min(...outcome.rounds);
  for (const [round, before] of outcome.rounds.entries()) {
    if (before <= limit) continue;
    outcome.rounds[round] = Math.min(before, await timed(outcome));
    outcome.repeated++;
  }
}

const titleOf = ({ contender: { runtime, regularized } }: Outcome): string =>
  `${runtime}${regularized ? ", SOM" : ""}`;

const rotated = <T>(list: readonly T[], by: number): T[] => [
  ...list.slice(by % list.length),
  ...list.slice(0, by % list.length),
];

/** The contenders whose first losses differ from those of this library, or of the first one if this library failed. */
export function disagreements(outcomes: readonly Outcome[]): [Outcome, Error][] {
  const found: [Outcome, Error][] = [];
  for (const regularized of [false, true]) {
    const group = outcomes.filter(
      ({ contender, start }) => contender.regularized === regularized && start && start.losses.length > 0,
    );
    const first = group.find(({ contender }) => contender.runtime === own) ?? group[0];
    const expected = first?.start?.losses ?? [];
    for (const outcome of group) {
      const losses = outcome.start?.losses ?? [];
      const error = Math.max(...losses.map((loss, i) => Math.abs(loss / (expected[i] ?? Number.NaN) - 1)));
      if (error < tolerance) continue;
      const texts = [losses, expected].map((list) => list.map((loss) => loss.toFixed(5)).join(", "));
      found.push([
        outcome,
        new Error(`its first losses ${texts[0]} differ from ${texts[1]} of ${first?.contender.runtime}`),
      ]);
    }
  }
  return found;
}

/** Warms up, and counts the steps that take as long as a round should. */
async function stepsOfRound(contender: Contender, milliseconds: number): Promise<number> {
  let time = await contender.run(1);
  // Small steps of this library run together, twice as many each time, until a run takes 25 to 50 ms.
  if (time < 50) {
    const some = Math.min(mostSteps, 2 ** Math.ceil(Math.log2(400 / time)));
    await contender.run(some);
    time = await contender.run(some);
  }
  let steps = 1;
  while (steps < mostSteps && steps * time < milliseconds) steps *= 2;
  return steps;
}
