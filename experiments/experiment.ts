import type { Pool } from "./pool.ts";

/** The size of an experiment. The committed figures use {@link fullSize}. */
export interface Size {
  /** Seeds of the reported runs. */
  readonly seeds: readonly number[];
  /** Other seeds, used to choose the weights of penalties. */
  readonly tuningSeeds: readonly number[];
  readonly samples: number;
  readonly epochs: number;
  /** Sizes of the validation set and of the test set. */
  readonly validation: number;
  readonly test: number;
  /** Rows of the largest estimate, and number of repetitions, in the experiment without training. */
  readonly rows: number;
  readonly trials: number;
}

export const fullSize: Size = {
  ...{ seeds: [1, 2, 3, 4, 5], tuningSeeds: [101, 102] },
  ...{ samples: 2000, epochs: 12, validation: 3000, test: 10_000 },
  ...{ rows: 16_384, trials: 20 },
};

/** A tiny size that shows whether everything runs; its figures are meaningless. */
export const quickSize: Size = {
  ...{ seeds: [1, 2], tuningSeeds: [101] },
  ...{ samples: 192, epochs: 1, validation: 128, test: 256 },
  ...{ rows: 1024, trials: 2 },
};

/** A figure and its file name without extension. */
export interface Figure {
  readonly name: string;
  /** Alternative text. */
  readonly label: string;
  draw(document: Document): SVGSVGElement;
}

/** An experiment: how it runs, and how its results are shown. */
export interface Experiment<Result> {
  /** Name of its results file and of its section in README.md. */
  readonly name: string;
  /** Whether it needs Fashion-MNIST, which is then fetched first. */
  readonly needsFashion: boolean;
  /** Runs it. All numbers depend only on seeds and size, never on time or the machine's load. */
  run(pool: Pool, size: Size): Promise<Result>;
  /** The result's tables in Markdown. */
  tables(result: Result): string;
  figures(result: Result): readonly Figure[];
}

/** An experiment without its result type, for lists. */
export interface AnyExperiment {
  readonly name: string;
  readonly needsFashion: boolean;
  run(pool: Pool, size: Size): Promise<unknown>;
  tables(result: unknown): string;
  figures(result: unknown): readonly Figure[];
}

/** Drops the result type of an experiment; its results are read from the file that it wrote itself. */
export const anyExperiment = <Result>(experiment: Experiment<Result>): AnyExperiment =>
  experiment as unknown as AnyExperiment;
