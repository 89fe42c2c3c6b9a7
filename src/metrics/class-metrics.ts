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
  /** Rows by their class (first index) and by the class that they were put into (second index). */
  readonly confusion: readonly (readonly number[])[];
  /** Rows that were counted. */
  readonly rows: number;
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
  /** [classes, classes] */
  readonly #counts: Float64Array;
  #amongFirst = 0;

  /** @param k - for top-k accuracy */
  constructor(classes: number, k = 5) {
    this.#classes = classes;
    this.#k = k;
    this.#counts = new Float64Array(classes * classes);
  }

  /**
   * Counts one row. The answer is the class with the highest score, the first one if there are several.
   * @param label - from 0 to classes − 1
   * @returns the answer
   */
  add(scores: ArrayLike<number>, label: number): number {
    let answer = 0;
    let above = 0;
    const own = scores[label] ?? Number.NaN;
    for (let c = 0; c < this.#classes; c++) {
      const score = scores[c] ?? Number.NaN;
      if (score > (scores[answer] ?? Number.NaN)) answer = c;
      // A score that is NaN, or compared with NaN, counts as above: a model that diverged is not right.
      if (score === own ? c < label : !(score < own)) above += 1;
    }
    const at = label * this.#classes + answer;
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    if (above < this.#k) this.#amongFirst += 1;
    return answer;
  }

  report(): ClassReport {
    const n = this.#classes;
    const count = (label: number, answer: number) => this.#counts[label * n + answer] ?? 0;
    const indices = Array.from({ length: n }, (_, c) => c);
    const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
    const confusion = indices.map((label) => indices.map((answer) => count(label, answer)));
    const answers = indices.map((answer) => sum(indices.map((label) => count(label, answer))));
    const classes = indices.map((index): ClassFigures => {
      const [right, samples] = [count(index, index), sum(confusion[index] ?? [])];
      const precision = share(right, answers[index] ?? 0);
      const recall = share(right, samples);
      return { index, precision, recall, f1: share(2 * precision * recall, precision + recall), samples };
    });
    const rows = sum(answers);
    const present = classes.filter(({ index, samples }) => samples > 0 || (answers[index] ?? 0) > 0);
    const mean = (figure: (one: ClassFigures) => number) => share(sum(present.map(figure)), present.length);
    return {
      accuracy: share(sum(indices.map((c) => count(c, c))), rows),
      ...(n > this.#k && { topK: { k: this.#k, accuracy: share(this.#amongFirst, rows) } }),
      macro: {
        precision: mean(({ precision }) => precision),
        recall: mean(({ recall }) => recall),
        f1: mean(({ f1 }) => f1),
      },
      ...{ classes, confusion, rows },
    };
  }
}

/** part / whole, 0 for nothing of nothing. */
export const share = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);
