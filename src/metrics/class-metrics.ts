/** Figures of one class. */
export interface ClassFigures {
  /** Its index. */
  readonly index: number;
  /** Share of the samples put into this class that belong to it; 0 where none was. */
  readonly precision: number;
  /** Share of the samples of this class that were put into it; 0 where there are none. */
  readonly recall: number;
  /** Harmonic mean of precision and recall. */
  readonly f1: number;
  /** Samples of this class. */
  readonly samples: number;
}

/** Figures of a classifier over a dataset. */
export interface ClassReport {
  /** Share of the rows put into their own class. */
  readonly accuracy: number;
  /** Share of the rows whose class is among the `k` highest scores; absent with no more than k classes. */
  readonly topK?: { readonly k: number; readonly accuracy: number };
  /** Means over the classes that occur among the labels or the answers. */
  readonly macro: { readonly precision: number; readonly recall: number; readonly f1: number };
  readonly classes: readonly ClassFigures[];
  /**
   * Rows by their class (first index) and by the class that they were put into (second index); absent above
   * 1,000 classes.
   */
  readonly confusion?: readonly (readonly number[])[];
  /** Rows that were counted. */
  readonly rows: number;
}

/** A table of all pairs of more classes than these would not fit in memory, or be read by anyone. */
export const mostConfused = 1000;

/** How many classes have a higher score than a row's own; of equal scores the first one counts as higher. */
export function rankOf(scores: ArrayLike<number>, label: number, classes: number): number {
  const own = scores[label] ?? Number.NaN;
  let above = 0;
  for (let c = 0; c < classes; c++) {
    const score = scores[c] ?? Number.NaN;
    // A score that is NaN, or compared with NaN, counts as above: a model that diverged is not right.
    if (score === own ? c < label : !(score < own)) above += 1;
  }
  return above;
}

/**
 * Counts the answers of a classifier, row by row.
 *
 * @example
 * const metrics = new ClassMetrics(3);
 * metrics.add([0.1, 2, -1], 1);
 * metrics.report().accuracy; // 1
 */
export class ClassMetrics {
  readonly #classes: number;
  readonly #k: number;
  /** Rows of each class, those put into it, and those of both. */
  readonly #labels: Float64Array;
  readonly #answers: Float64Array;
  readonly #right: Float64Array;
  /** [classes, classes] */
  readonly #counts: Float64Array | undefined;
  #amongFirst = 0;

  /** @param k - for top-k accuracy */
  constructor(classes: number, k = 5) {
    this.#classes = classes;
    this.#k = k;
    const zeros = () => new Float64Array(classes);
    [this.#labels, this.#answers, this.#right] = [zeros(), zeros(), zeros()];
    this.#counts = classes > mostConfused ? undefined : new Float64Array(classes * classes);
  }

  /**
   * Counts one row. The answer is the class with the highest score, the first one if there are several. A row with a score that is
   * NaN has no answer: it counts as wrong, and is in no column of the confusion.
   * @param label - from 0 to classes − 1
   * @returns the answer; −1 without one
   */
  add(scores: ArrayLike<number>, label: number): number {
    let answer = 0;
    for (let c = 0; c < this.#classes; c++) {
      const score = scores[c] ?? Number.NaN;
      if (Number.isNaN(score)) {
        answer = -1;
        break;
      }
      if (score > (scores[answer] ?? Number.NaN)) answer = c;
    }
    increment(this.#labels, label);
    if (answer >= 0) {
      increment(this.#answers, answer);
      if (answer === label) increment(this.#right, label);
      if (this.#counts) increment(this.#counts, label * this.#classes + answer);
    }
    if (rankOf(scores, label, this.#classes) < this.#k) this.#amongFirst += 1;
    return answer;
  }

  report(): ClassReport {
    const n = this.#classes;
    const counts = this.#counts;
    const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
    const classes = Array.from({ length: n }, (_, index): ClassFigures => {
      const [right = 0, samples = 0] = [this.#right[index], this.#labels[index]];
      const precision = share(right, this.#answers[index] ?? 0);
      const recall = share(right, samples);
      return { index, precision, recall, f1: share(2 * precision * recall, precision + recall), samples };
    });
    const rows = sum([...this.#labels]);
    const present = classes.filter(({ index, samples }) => samples > 0 || (this.#answers[index] ?? 0) > 0);
    const mean = (figure: (one: ClassFigures) => number) => share(sum(present.map(figure)), present.length);
    return {
      accuracy: share(sum([...this.#right]), rows),
      ...(n > this.#k && { topK: { k: this.#k, accuracy: share(this.#amongFirst, rows) } }),
      macro: {
        precision: mean(({ precision }) => precision),
        recall: mean(({ recall }) => recall),
        f1: mean(({ f1 }) => f1),
      },
      classes,
      ...(counts && {
        confusion: classes.map(({ index }) => [...counts.subarray(index * n, (index + 1) * n)]),
      }),
      rows,
    };
  }
}

function increment(counts: Float64Array, at: number): void {
  counts[at] = (counts[at] ?? 0) + 1;
}

/** part / whole, 0 for nothing of nothing. */
export const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);
