import { expect } from "vitest";
import type { Dataset, Trainer } from "../../src/index.ts";
import type { TrainerState } from "../../src/programs/trainer-state.ts";

// docs/numbers.md, the part of the library: each loss, optimizer and penalty on numbers that break arithmetic. What must hold:
// an error with the place and advice, or finite numbers that are right; never NaN that nobody was told of.

export const [samples, features, units, places] = [4, 3, 3, 2];
export const wave = (i: number) => Math.sin(12.9 * i);
/** What a run on good numbers looks like, and numbers that break arithmetic. */
export const data: Readonly<Record<string, (i: number) => number>> = {
  plain: wave,
  "1e12": (i) => 1e12 * wave(i),
  "1e18": (i) => 1e18 * wave(i),
  "1e38": () => 1e38,
  denormal: () => 1e-42,
  constant: () => 1,
  zero: () => 0,
};

/** Whether every number of a state is finite. */
export const isFiniteState = ({ parameters, statistics, slots, shared = new Map() }: TrainerState): boolean =>
  [parameters, statistics, shared, ...slots.values()].every((part) =>
    [...part.values()].every((tensor) => tensor.numbers().every(Number.isFinite)),
  );

export interface Ended {
  readonly loss: number | undefined;
  readonly error: string;
  readonly state: TrainerState;
}

/** Some steps with a trainer. */
export async function train(trainer: Trainer, dataset: Dataset, steps = 1): Promise<Ended> {
  let [loss, error]: [number | undefined, string] = [undefined, ""];
  try {
    const length = { epochs: 1000, maxSteps: trainer.steps + steps };
    for await (const event of trainer.fit(dataset, length)) if (event.event === "step") loss ??= event.loss;
  } catch (thrown) {
    error = `${thrown}`;
  }
  return { loss, error, state: await trainer.readState() };
}

const broken = /became (NaN|-?Infinity)|holds (NaN|-?Infinity)/;
const advice = /lower the learning rate .* huge numbers in the data/;

/** The run ended with an error and advice, or well; its state is finite in any case. */
export function expectDefined({ loss, error, state }: Ended): void {
  if (error === "") expect(loss).toSatisfy(Number.isFinite);
  else {
    expect(error).toMatch(broken);
    expect(error).toMatch(advice);
  }
  expect(isFiniteState(state)).toBe(true);
}
