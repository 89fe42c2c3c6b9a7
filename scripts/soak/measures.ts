/** What is measured during a soak, in the order of the table. */
export const measures = ["memory", "heap", "handles", "nodes", "listeners"] as const;
export type MeasureName = (typeof measures)[number];

/** What each measure is, in words. */
export const meanings: Readonly<Record<MeasureName, string>> = {
  memory: "memory of the processes, MiB",
  heap: "JavaScript heap and buffers, MiB",
  handles: "open files, pipes and sockets",
  nodes: "elements of the document",
  listeners: "event listeners",
};

/** What a run held after some work. */
export interface Reading {
  /** Work done: steps, trainers or minutes. */
  readonly at: number;
  readonly held: Partial<Readonly<Record<MeasureName, number>>>;
}

/** One long run: how it is called, what it counts, and its readings, taken as it goes. */
export interface Soak {
  readonly name: string;
  /** How much work it does, and the unit. */
  readonly amount: number;
  readonly unit: "steps" | "trainers" | "minutes";
  readings(): AsyncGenerator<Reading>;
}

/**
 * The largest slope that counts as flat, by unit of work. The state of the trained network takes 0.2 MiB: one lost per step is
 * 200 MiB in 1,000, one lost per trainer 0.2.
 */
export const bounds: Readonly<Record<Soak["unit"], Readonly<Record<MeasureName, number>>>> = {
  steps: { memory: 2 / 1000, heap: 0.5 / 1000, handles: 1 / 1000, nodes: 1 / 1000, listeners: 1 / 1000 },
  trainers: { memory: 0.1, heap: 0.02, handles: 0.02, nodes: 0.02, listeners: 0.02 },
  minutes: { memory: 2, heap: 0.5, handles: 0.2, nodes: 2, listeners: 1 },
};

/** Readings of a run. */
export const readingsPerRun = 60;
