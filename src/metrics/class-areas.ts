import { areaUnderCurve } from "./label-metrics.ts";

/**
 * Areas under the curve of each class against all others, by its probability (the softmax of a row's scores): scikit-learn's
 * `roc_auc_score(multi_class="ovr")`, where the macro average is the mean over the classes.
 */
export class ClassAreas {
  readonly #probabilities: number[][];
  readonly #labels: number[] = [];

  constructor(classes: number) {
    this.#probabilities = Array.from({ length: classes }, () => []);
  }

  /** Counts one row. */
  add(scores: readonly number[], label: number): void {
    const most = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const powers = scores.map((score) => Math.exp(score - most));
    const sum = powers.reduce((a, b) => a + b, 0);
    for (const [c, power] of powers.entries()) this.#probabilities[c]?.push(power / sum);
    this.#labels.push(label);
  }

  /** The area of each class; undefined for one that no row, or every row, belongs to. */
  areas(): (number | undefined)[] {
    return this.#probabilities.map((probabilities, c) =>
      areaUnderCurve(
        probabilities,
        this.#labels.map((label) => label === c),
      ),
    );
  }
}
