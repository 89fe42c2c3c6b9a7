import { countClasses } from "./class-weights.ts";
import type { Dataset } from "./dataset.ts";

/** Most classes that are counted. */
const mostClasses = 100_000;

/**
 * Remarks on labels from which less is learned, or measured, than it seems: of one class alone, of fewer classes than the model
 * has, and held-out samples that lack a class or have one of their own.
 * @param classes - those that the model tells apart
 */
export function classRemarks(train: Dataset, held: Dataset | undefined, classes: number): string[] {
  const learned = classesIn(train, classes);
  if (!learned || learned.size === 0) return [];
  const lacking = Array.from({ length: classes }, (_, i) => i).filter((one) => !learned.has(one));
  const [only = 0] = learned;
  const isFirst = Math.max(...learned) === learned.size - 1;
  const advice = isFirst ? ` (--classes ${learned.size} makes a last layer for those)` : "";
  const ofTraining =
    learned.size === 1
      ? [
          `${train.name}: every training sample has the label ${only}, from which a model only learns to say ${only}`,
        ]
      : lacking.length > 0
        ? [
            `${train.name}: the training samples have ${learned.size} of the model's ${classes} classes, and never ${listOf(lacking)}${advice}`,
          ]
        : [];
  const measured = held && classesIn(held, classes);
  if (!held || !measured || measured.size === 0) return ofTraining;
  const missed = [...learned].filter((one) => !measured.has(one));
  const unknown = [...measured].filter((one) => !learned.has(one));
  return [
    ...ofTraining,
    ...(missed.length > 0
      ? [`${held.name}: no sample of ${listOf(missed)}, whose figures mean nothing`]
      : []),
    ...(unknown.length > 0
      ? [`${held.name}: samples of ${listOf(unknown)}, which no training sample has`]
      : []),
  ];
}

/** The classes that occur, in order; undefined for labels that are not classes, or that are made while a run trains. */
function classesIn(dataset: Dataset, classes: number): ReadonlySet<number> | undefined {
  const counts = classes > mostClasses ? undefined : countClasses(dataset, classes);
  return counts && new Set(counts.flatMap((count, label) => (count > 0 ? [label] : [])));
}

function listOf(classes: readonly number[]): string {
  const some = classes.length > 5 ? `${classes.slice(0, 5).join(", ")} …` : classes.join(", ");
  return `${classes.length === 1 ? "class" : `the ${classes.length} classes`} ${some}`;
}
