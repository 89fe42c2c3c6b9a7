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

/** A loss as inject writes it into a file: in operators of the model's own opset that official training tools differentiate. */
export interface InjectedLoss {
  /** Element type of the labels: int64, or that of the prediction (float32 for half types). */
  readonly labels: "int64" | "prediction";
  /** The axes of a prediction of that shape that labels have too, in order. */
  readonly axes: (prediction: Shape) => readonly number[];
  /**
   * Emits the mean over all rows, a scalar. Nothing that it emits holds a length that the file leaves free.
   * @param prediction - float32 or float64
   * @throws SorthError for a prediction or an opset in which the loss cannot be written
   */
  readonly build: (g: Emit, prediction: Typed, labels: Typed) => Typed;
}

/** A loss that compares a model's prediction with labels. Axis 0 of both counts rows. */
export interface Objective {
  /** As `--objective` spells it. */
  readonly name: string;
  /** Every option, defaults included; `{}` for a loss without options. Checkpoints and injected files keep them. */
  readonly options: ObjectiveOptions;
  /**
   * Operators that the loss applies itself, such as Softmax: where a model ends in one, the loss reads the value in front
   * of it. Default none.
   */
  readonly activations?: readonly string[];
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
  /** The loss in a file that inject writes; left out where inject cannot add it. */
  readonly injected?: InjectedLoss;
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
   * @throws DataError naming the first of them.
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
