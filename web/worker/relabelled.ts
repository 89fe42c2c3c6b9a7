import { type BatchArray, type Column, type Dataset, isPending } from "../../src/data/dataset.ts";

/**
 * A dataset whose class labels are other numbers.
 * @param labels - the new label for each old one
 * @param classes - how many classes there are now
 */
export function relabelled(dataset: Dataset, labels: readonly number[], classes: number): Dataset {
  const change = (target: BatchArray, count: number): void => {
    for (let row = 0; row < count; row++) {
      const label = labels[Number(target[row])] ?? -1;
      target[row] = typeof target[row] === "bigint" ? BigInt(label) : label;
    }
  };
  const column: Column | undefined = dataset.labels && {
    ...dataset.labels,
    classes,
    range: () => ({ least: 0, most: classes - 1, whole: true }),
    fill: (indices, target) => {
      const filled = dataset.labels?.fill(indices, target);
      if (isPending(filled)) return filled.then(() => change(target, indices.length));
      change(target, indices.length);
    },
  };
  return {
    ...dataset,
    y: { ...dataset.y, classes },
    ...(column && { labels: column }),
    ...(dataset.fingerprint !== undefined && { fingerprint: `${dataset.fingerprint} ${labels.join()}` }),
    fill(indices, x, y, pass) {
      const filled = dataset.fill(indices, x, y, pass);
      if (isPending(filled)) return filled.then(() => change(y, indices.length));
      change(y, indices.length);
    },
  };
}
