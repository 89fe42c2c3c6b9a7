import { crossEntropy, Trainer } from "../src/index.ts";
import { parsePlan } from "../src/penalties/text.ts";
import { dataOf } from "./data-sets.ts";
import { table } from "./markdown.ts";
import { methodStage, methods } from "./methods.ts";
import { network } from "./networks.ts";

/** Milliseconds per training step with each penalty (medians over rounds), which depend on the machine and its load. */
export interface StepCost {
  readonly network: string;
  readonly batch: number;
  readonly threads: number;
  readonly milliseconds: Readonly<Record<string, number>>;
}

const batch = 32;
const stepsOfRound = 32;
const threads = 1;

/** Times a step of the CNN with every penalty. They take turns, so that a busy moment of the machine affects all of them. */
export async function stepCost(rounds: number): Promise<StepCost> {
  const { train } = await dataOf("mnist", {
    seed: 1,
    samples: batch * stepsOfRound,
    validation: 64,
    test: 64,
  });
  const model = network("cnn-bn", 1);
  const contenders = await Promise.all(
    [{ name: "plain", usual: 0 }, ...methods.filter(({ penalty }) => penalty)].map(async (method) => {
      const { penalties = [] } = methodStage(method, method.usual);
      const options = {
        objective: crossEntropy(),
        batch,
        threads,
        learningRate: 1e-4,
        stepsPerRun: stepsOfRound,
      };
      const trainer = await Trainer.create(model, { ...options, penalties: penalties.map(parsePlan) });
      return {
        name: method.name,
        trainer,
        events: trainer.fit(train, { epochs: rounds + 1 }),
        times: [] as number[],
      };
    }),
  );
  for (let round = 0; round <= rounds; round++) {
    for (const { events, times } of contenders) {
      const start = performance.now();
      for (
        let next = await events.next();
        !next.done && next.value.event !== "epoch";
        next = await events.next()
      );
      // The first round warms up.
      if (round > 0) times.push((performance.now() - start) / stepsOfRound);
    }
  }
  await Promise.all(contenders.map(({ trainer }) => trainer.release()));
  const milliseconds = Object.fromEntries(
    contenders.map(({ name, times }) => [name, Number(median(times).toFixed(3))]),
  );
  return { network: "cnn-bn", batch, threads, milliseconds };
}

/** Times as multiples of a plain step. */
export function stepCostTable({ milliseconds }: StepCost): string {
  const plain = milliseconds.plain ?? Number.NaN;
  return table(
    ["penalty", "step, ms", "÷ plain"],
    Object.entries(milliseconds)
      .sort(([, a], [, b]) => a - b)
      .map(([name, time]) => [name, time.toFixed(2), (time / plain).toFixed(2)]),
  );
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return ((sorted[(sorted.length - 1) >> 1] ?? 0) + (sorted[sorted.length >> 1] ?? 0)) / 2;
}
