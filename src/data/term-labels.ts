import { DataError } from "../errors.ts";
import { type Shape, shapeText } from "../graph/shapes.ts";
import type { Objective } from "../losses/objective.ts";
import type { NamedTerm } from "../losses/terms.ts";
import { elementCount } from "../onnx/tensor.ts";
import { isWide } from "../onnx/tensor-data.ts";
import { type BatchArray, type Column, type Dataset, isPending } from "./dataset.ts";

/** Names of the arrays that a loss reads. */
type Arrays = Pick<NamedTerm, "name" | "labels" | "mask">;

/** The loss, and the shape of the predictions of a batch, which say to which labels a number of a mask belongs. */
interface MaskReader {
  readonly objective: Pick<Objective, "classAxis" | "maskedAxis">;
  readonly prediction: Shape;
}

/**
 * The dataset with the labels that one loss reads: those that it names, with a valid label at every place that its mask leaves
 * out. Not for feeding a model: {@link checkLabels} and the like look at it.
 * @param inputs - names of the model's inputs, which a loss may name instead of an array
 * @throws DataError when there is no array of a name
 */
export function datasetFor(
  dataset: Dataset,
  term: Arrays,
  inputs: readonly string[] = [],
  reader?: MaskReader,
): Dataset {
  const { labels: name, mask } = term;
  if (name === undefined && mask === undefined) return dataset;
  const found = name === undefined ? dataset.labels : columnFor(dataset, term, name, inputs);
  const counts = mask === undefined ? undefined : columnFor(dataset, term, mask, inputs);
  const labels = found && mask !== undefined ? counts && masked(found, counts, reader) : found;
  if (name === undefined && !dataset.labels) return dataset;
  const { labels: _, ...others } = dataset;
  if (!labels) return { ...others, y: { type: "none", shape: [] } };
  const { type, shape, classes } = labels;
  return { ...others, y: { type, shape, ...(classes !== undefined && { classes }) }, labels };
}

function columnFor(
  dataset: Dataset,
  term: Arrays,
  name: string,
  inputs: readonly string[],
): Column | undefined {
  const { labels, inputs: arrays } = dataset;
  const column = arrays?.get(name) ?? (labels?.name === name ? labels : undefined);
  if (column || inputs.includes(name)) return column;
  const all = [...(arrays?.values() ?? []), ...(labels ? [labels] : [])];
  const held = all.map((one) => `${one.name} ${shapeText(one.shape)}`).join(", ") || "arrays without names";
  throw new DataError(
    `${dataset.name}: the loss "${term.name}" reads "${name}", but there is no such array; samples hold ${held}`,
  );
}

/** Labels with a number that the loss takes where a mask is not above 0: the same share for each class, else 0. */
function masked(labels: Column, mask: Column, reader: MaskReader | undefined): Column {
  const places = elementCount(labels.shape) / elementCount(mask.shape);
  const { objective, prediction = [] } = reader ?? {};
  const axis = places > 1 ? objective?.maskedAxis?.(prediction) : undefined;
  const inner = axis === undefined ? 1 : elementCount(prediction.slice(axis + 1));
  const valid = axis !== undefined && objective?.classAxis ? 1 / places : 0;
  // The number of the mask for the n-th number of labels [N, …, vector, inner]
  const placeOf = (at: number) => Math.floor(at / (places * inner)) * inner + (at % inner);
  return {
    ...labels,
    range: () => {
      const { least, most, whole } = labels.range();
      return { least: Math.min(least, 0), most: Math.max(most, valid), whole: whole && valid === 0 };
    },
    fill: (indices, target: BatchArray, pass) => {
      const filled = labels.fill(indices, target, pass);
      const counts = new Float64Array(indices.length * elementCount(mask.shape));
      const read = mask.fill(indices, counts, pass);
      const apply = () => {
        for (let i = 0; i < indices.length * elementCount(labels.shape); i++) {
          const counted = (counts[placeOf(i)] ?? 0) > 0;
          if (!counted) target[i] = (isWide(target) ? 0n : valid) as never;
        }
      };
      return isPending(filled) || isPending(read) ? Promise.all([filled, read]).then(apply) : apply();
    },
  };
}
