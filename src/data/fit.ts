import { SorthError } from "../errors.ts";
import type { DeclaredDim } from "../graph/node.ts";
import { sameShape, shapeText } from "../graph/shapes.ts";
import { type DataTypeName, isFloat } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { Dataset } from "./dataset.ts";

/** A model's input as far as data must fit it. */
export interface InputType {
  readonly name: string;
  readonly type?: DataTypeName | undefined;
  /** With the batch as its first axis; names and undefined are free. */
  readonly shape: readonly DeclaredDim[];
}

const withoutOnes = (shape: readonly number[]): number[] => shape.filter((dim) => dim !== 1);

/**
 * The dataset with samples in the shape that a model's input declares. The elements stay in their order: axes of length
 * 1 may come or go, and samples may be flattened to one axis; nothing else is reshaped.
 * @throws SorthError naming both shapes, and when an integer input would be given fractions.
 *
 * @example
 * fitToInput(mnist, { name: "x", shape: ["batch", 784] }).x.shape; // [784]
 */
export function fitToInput(dataset: Dataset, input: InputType): Dataset {
  if (input.type && !isFloat(input.type) && dataset.x.type === "float") {
    throw new SorthError(
      `${dataset.name}: input "${input.name}" of the model takes ${input.type}, but x holds floats; save x as integers`,
    );
  }
  const wanted = input.shape.slice(1);
  const { shape } = dataset.x;
  if (
    wanted.length === shape.length &&
    wanted.every((dim, axis) => typeof dim !== "number" || dim === shape[axis])
  ) {
    return dataset;
  }
  const fixed = wanted.filter((dim) => typeof dim === "number");
  const reshapes =
    input.shape.length > 0 &&
    fixed.length === wanted.length &&
    elementCount(fixed) === elementCount(shape) &&
    (fixed.length === 1 || sameShape(withoutOnes(fixed), withoutOnes(shape)));
  if (!reshapes) {
    const declared = `[${input.shape.map((dim) => dim ?? "?").join(", ")}]`;
    throw new SorthError(
      `${dataset.name}: samples of x have shape ${shapeText(shape)}, but input "${input.name}" of the model takes ${declared} (batch first); reshape x or choose other data`,
    );
  }
  return {
    name: dataset.name,
    size: dataset.size,
    x: { type: dataset.x.type, shape: fixed },
    y: dataset.y,
    fill: (indices, x, y) => dataset.fill(indices, x, y),
  };
}

/**
 * Checks that labels exist for a classifier and fit its number of classes.
 * @throws SorthError when y holds floats, or a label is too large.
 */
export function checkLabels(dataset: Dataset, classes: number): void {
  const { y } = dataset;
  if (y.classes === undefined) {
    throw new SorthError(
      `${dataset.name}: y holds floats, but cross-entropy needs class labels; save y as integers or use the objective mse`,
    );
  }
  if (y.classes > classes) {
    throw new SorthError(
      `${dataset.name}: y holds the label ${y.classes - 1}, but the model has ${classes} classes (0 … ${classes - 1})`,
    );
  }
}
