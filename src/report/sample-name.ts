import type { Dataset } from "../data/dataset.ts";

/** The file of a sample, or its number, counted from 0: that of its row where rows of a table were left out. */
export const nameOfSample = (dataset: Dataset, index: number): string | number =>
  dataset.sampleName?.(index) ?? dataset.sampleRow?.(index) ?? index;
