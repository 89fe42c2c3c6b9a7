import { SorthError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Shape } from "../graph/shapes.ts";
import { isFloat } from "../onnx/data-types.ts";

/** A loss in a graph. */
export interface ObjectiveGraph {
  /** Scalar, mean over all rows (torch's `reduction="mean"`); float32, or float64 for float64 predictions. */
  readonly value: Typed;
  /** ∂value/∂prediction, closed form, in the prediction's type and shape; built when called. */
  readonly gradient: () => Typed;
}

/** Figures of some rows that were predicted. Divided by the number of counted rows they are the loss and the accuracy. */
export interface Evaluation {
  /** Sum of the rows' losses. */
  readonly loss: number;
  /** Rows that were classified right (of a row with several labels, its share); absent where nothing is classified. */
  readonly correct?: number;
  /** Rows that have a part in the loss (of a row with several labels, its share); default all. */
  readonly counted?: number;
}

/** Options of an objective by name. */
export type ObjectiveOptions = Readonly<Record<string, number | string | boolean>>;

/** A loss that compares a model's prediction with labels. Axis 0 of both counts rows. */
export interface Objective {
  /** As `--objective` spells it. */
  readonly name: string;
  /** Every option, defaults included; a checkpoint keeps them. */
  readonly options?: ObjectiveOptions;
  /** The axis of predictions of a shape that counts classes, where one does. */
  readonly classAxis?: (prediction: Shape) => number;
  readonly labels: {
    /** Element type of the labels in a graph. */
    readonly type: "int32" | "float";
    /** Shape of the labels that belong to predictions of a shape. @throws SorthError when no labels do. */
    readonly shape: (prediction: Shape) => Shape;
  };
  /** Emits the loss. What computes the value holds no batch size. */
  readonly build: (g: Emit, prediction: Typed, labels: Typed) => ObjectiveGraph;
  /**
   * The loss of the first `rows` rows in float64, for exact figures of a partly filled batch.
   * @param shape - of `predictions`; its first axis may be longer than `rows`
   */
  readonly evaluate: (
    predictions: ArrayLike<number>,
    labels: ArrayLike<number>,
    rows: number,
    shape: Shape,
  ) => Evaluation;
  /**
   * Refuses labels on which the loss is not defined.
   * @param shape - of the predictions
   * @throws SorthError naming the first of them.
   */
  readonly checkLabels: (labels: ArrayLike<number>, shape: Shape) => void;
}

/** The prediction in the type in which losses are computed: float64 stays, half types become float32. */
export function computable(g: Emit, prediction: Typed): Typed {
  if (!isFloat(prediction.type)) {
    throw new SorthError(`the prediction "${prediction.name}" is ${prediction.type}; a loss needs floats`);
  }
  return prediction.type === "double" ? prediction : g.cast(prediction, "float");
}
