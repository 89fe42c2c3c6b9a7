import { share } from "./class-metrics.ts";

/** Figures of one yes-or-no label. */
export interface LabelFigures {
  /** Its index among the model's outputs for one sample. */
  readonly index: number;
  readonly precision: number;
  readonly recall: number;
  readonly f1: number;
  /** Area under the curve of true against false positives; undefined where all samples have the same label. */
  readonly auc: number | undefined;
  /** Samples with this label. */
  readonly samples: number;
}

/** Figures of yes-or-no labels over a dataset. */
export interface LabelReport {
  /** Share of right answers among all labels of all samples. */
  readonly accuracy: number;
  /** Means over the labels; that of the AUC over those that have one. */
  readonly macro: {
    readonly precision: number;
    readonly recall: number;
    readonly f1: number;
    readonly auc: number | undefined;
  };
  readonly labels: readonly LabelFigures[];
  /** Samples that were counted. */
  readonly rows: number;
}

/**
 * Counts the answers to yes-or-no labels, each number of a sample on its own. Scores are logits: above 0 means yes.
 *
 * @example
 * const metrics = new LabelMetrics(2);
 * metrics.add([3, -1], [1, 0]);
 * metrics.report().accuracy; // 1
 */
export class LabelMetrics {
  readonly #width: number;
  readonly #scores: number[][];
  readonly #labels: boolean[][];

  /** @param width - labels of one sample */
  constructor(width: number) {
    this.#width = width;
    this.#scores = Array.from({ length: width }, () => []);
    this.#labels = Array.from({ length: width }, () => []);
  }

  /** Counts one sample. Labels above 0.5 mean yes. */
  add(scores: ArrayLike<number>, labels: ArrayLike<number>): void {
    for (let i = 0; i < this.#width; i++) {
      this.#scores[i]?.push(scores[i] ?? Number.NaN);
      this.#labels[i]?.push((labels[i] ?? Number.NaN) > 0.5);
    }
  }

  report(): LabelReport {
    let right = 0;
    const labels = this.#scores.map((scores, index): LabelFigures => {
      const wanted = this.#labels[index] ?? [];
      let [hits, answers, samples] = [0, 0, 0];
      for (const [i, score] of scores.entries()) {
        const [yes, label] = [score > 0, wanted[i] === true];
        if (yes && label) hits += 1;
        if (yes) answers += 1;
        if (label) samples += 1;
        if (yes === label) right += 1;
      }
      const [precision, recall] = [share(hits, answers), share(hits, samples)];
      const f1 = share(2 * precision * recall, precision + recall);
      return { index, precision, recall, f1, auc: areaUnderCurve(scores, wanted), samples };
    });
    const rows = this.#scores[0]?.length ?? 0;
    const mean = (values: readonly number[]) =>
      share(
        values.reduce((a, b) => a + b, 0),
        values.length,
      );
    const areas = labels.flatMap(({ auc }) => (auc === undefined ? [] : [auc]));
    return {
      accuracy: share(right, rows * this.#width),
      macro: {
        precision: mean(labels.map(({ precision }) => precision)),
        recall: mean(labels.map(({ recall }) => recall)),
        f1: mean(labels.map(({ f1 }) => f1)),
        auc: areas.length > 0 ? mean(areas) : undefined,
      },
      ...{ labels, rows },
    };
  }
}

/**
 * The probability that a sample with the label has a higher score than one without it; equal scores count half.
 * @returns undefined where all samples have the same label
 */
export function areaUnderCurve(scores: readonly number[], labels: readonly boolean[]): number | undefined {
  const order = [...scores.keys()].sort((a, b) => (scores[a] ?? 0) - (scores[b] ?? 0));
  const positives = labels.filter(Boolean).length;
  const negatives = labels.length - positives;
  if (positives === 0 || negatives === 0) return undefined;
  let ranks = 0;
  for (let first = 0; first < order.length; ) {
    let end = first;
    while (end < order.length && scores[order[end] ?? 0] === scores[order[first] ?? 0]) end += 1;
    // NaN equals nothing, itself included.
    end = Math.max(end, first + 1);
    for (const at of order.slice(first, end)) if (labels[at]) ranks += (first + 1 + end) / 2;
    first = end;
  }
  return (ranks - (positives * (positives + 1)) / 2) / (positives * negatives);
}
