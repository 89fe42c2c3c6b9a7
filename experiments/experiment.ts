import type { Pool } from "./pool.ts";

/** How much is done. The committed figures are made with {@link fullSize}. */
export interface Size {
  /** Seeds of what is reported. */
  readonly seeds: readonly number[];
  /** Other seeds, by which weights of penalties are chosen. */
  readonly tuningSeeds: readonly number[];
  readonly samples: number;
  readonly epochs: number;
  /** Samples of the validation and the test set. */
  readonly validation: number;
  readonly test: number;
  /** Rows of the largest estimate, and repetitions, in the experiment without training. */
  readonly rows: number;
  readonly trials: number;
}

export const fullSize: Size = {
  ...{ seeds: [1, 2, 3, 4, 5], tuningSeeds: [101, 102] },
  ...{ samples: 2000, epochs: 12, validation: 3000, test: 10_000 },
  ...{ rows: 16_384, trials: 20 },
};

/** To see whether everything runs: figures mean nothing. */
export const quickSize: Size = {
  ...{ seeds: [1, 2], tuningSeeds: [101] },
  ...{ samples: 192, epochs: 1, validation: 128, test: 256 },
  ...{ rows: 1024, trials: 2 },
};

/** A picture: file name without ending, and how it is drawn. */
export interface Figure {
  readonly name: string;
  /** What it shows, for those who do not see it. */
  readonly label: string;
  draw(document: Document): SVGSVGElement;
}

/** A question, how it is answered, and how the answer is shown. */
export interface Experiment<Result> {
  /** Of its results' file and its section in README.md. */
  readonly name: string;
  /** Whether it trains on Fashion-MNIST, which is fetched first. */
  readonly needsFashion: boolean;
  /** Seeds and size decide every number; nothing that depends on time or the machine's load belongs here. */
  run(pool: Pool, size: Size): Promise<Result>;
  /** Markdown. */
  tables(result: Result): string;
  figures(result: Result): readonly Figure[];
}

/** For lists of experiments with different results. */
export interface AnyExperiment {
  readonly name: string;
  readonly needsFashion: boolean;
  run(pool: Pool, size: Size): Promise<unknown>;
  tables(result: unknown): string;
  figures(result: unknown): readonly Figure[];
}

/** Forgets the type of the results, which are read from a file that the experiment wrote. */
export const anyExperiment = <Result>(experiment: Experiment<Result>): AnyExperiment =>
  experiment as unknown as AnyExperiment;
