import { DataError } from "../errors.ts";
import type { Shape } from "../graph/shapes.ts";
import type { Objective } from "../losses/objective.ts";
import type { AnyObjective } from "../losses/terms.ts";
import { elementCount } from "../onnx/tensor.ts";
import { type BatchArray, type Column, type Dataset, isPending, type SampleType } from "./dataset.ts";

/** A loss, and the array that it reads. */
interface LabelReader {
  readonly objective?: AnyObjective | undefined;
  /** Shape of the predictions of a batch; undefined where the loss reads none. */
  readonly shape: Shape | undefined;
  /** Name of the array with its labels; undefined for the labels of the dataset. */
  readonly labels?: string | undefined;
  /** Name of its mask: labels at the places that it leaves out may be anything. */
  readonly mask?: string | undefined;
}

/** The labels that a loss takes. */
interface Rule {
  readonly classes: number;
  readonly ignored: unknown;
}

/**
 * Says which class a label names that the model does not have.
 * @param isCounted - whether labels may begin with another number than 0
 */
export function refuseLabel(where: string, label: number, classes: number, isCounted: boolean): never {
  throw new DataError(
    `${where} holds the label ${label}, but the model has ${classes} classes: ${isCounted ? "number them from 0" : "give it more (--classes)"}, use --ignore-index ${label} if it marks positions to leave out, or the objective mse`,
  );
}

/**
 * The dataset with its labels checked as they are read, where nothing could look through them before: those that a `fill` of the
 * user's own writes, and those of a generator. Others are returned as they are.
 * @param batch - samples in the predictions' shape
 */
export function watchedLabels(dataset: Dataset, readers: readonly LabelReader[], batch: number): Dataset {
  const { name, size, x, y, inputs, labels, inOrder } = dataset;
  if (labels && !inOrder) return dataset;
  const ruleOf = (type: SampleType, array: string | undefined) => {
    const found = readers.find((one) => one.labels === array && one.mask === undefined);
    return found && ruleFor(found, type, batch);
  };
  const watched = (column: Column, rule: Rule | undefined): Column =>
    rule
      ? {
          ...column,
          fill: (indices, target, pass) =>
            thenChecked(column.fill(indices, target, pass), () =>
              check(`${name}: ${column.name}`, { indices, target, shape: column.shape }, rule),
            ),
        }
      : column;
  const rule = ruleOf(y, undefined);
  const columns = [...(inputs ?? [])].map(
    ([key, column]) => [key, watched(column, ruleOf(column, key))] as const,
  );
  const { fingerprint, changing, close, sampleName, sampleRow } = dataset;
  return {
    ...{ name, size, x, y },
    ...(inputs && { inputs: new Map(columns) }),
    ...(labels && { labels: watched(labels, rule ?? ruleOf(labels, labels.name)) }),
    ...(fingerprint !== undefined && { fingerprint }),
    ...(inOrder && { inOrder }),
    ...(changing && { changing }),
    ...(close && { close: () => dataset.close?.() }),
    ...(sampleName && { sampleName: (index: number) => dataset.sampleName?.(index) ?? "" }),
    ...(sampleRow && { sampleRow: (index: number) => dataset.sampleRow?.(index) ?? index }),
    fill: (indices, x, y, pass) =>
      thenChecked(dataset.fill(indices, x, y, pass), () => {
        if (rule)
          check(`${name}: ${labels?.name ?? "y"}`, { indices, target: y, shape: dataset.y.shape }, rule);
      }),
  };
}

/** The classes that a cross-entropy takes as numbers; undefined for other losses and labels. */
function ruleFor({ objective, shape }: LabelReader, type: SampleType, batch: number): Rule | undefined {
  if (!shape || objective?.name !== "cross-entropy" || type.type !== "integer") return undefined;
  const { labels, classAxis, options } = objective as Objective;
  const classes = shape[classAxis?.(shape) ?? 1] ?? 1;
  const taken = elementCount(labels.shape(shape)) / batch;
  // Probabilities have one number for each class.
  const places = labels.type === "int32" ? taken : taken / classes;
  return elementCount(type.shape) === places ? { classes, ignored: options?.ignoreIndex } : undefined;
}

const thenChecked = (filled: void | Promise<void>, check: () => void): void | Promise<void> =>
  isPending(filled) ? filled.then(check) : check();

function check(
  where: string,
  { indices, target, shape }: { indices: ArrayLike<number>; target: BatchArray; shape: Shape },
  { classes, ignored }: Rule,
): void {
  const width = elementCount(shape);
  for (let at = 0; at < indices.length * width; at++) {
    const label = Number(target[at]);
    if (label === ignored || (label >= 0 && label < classes)) continue;
    refuseLabel(`${where} of sample ${indices[Math.floor(at / width)]}`, label, classes, label < 0);
  }
}
