import type { RandomGenerator } from "pure-rand/types/RandomGenerator";
import { SorthError, UsageError } from "../errors.ts";
import { given } from "../given.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Shape } from "../graph/shapes.ts";
import { checkOptions } from "../known-options.ts";
import { isFloat } from "../onnx/data-types.ts";

/** A loss in a graph. */
export interface ObjectiveGraph {
  /** Scalar, mean over all rows (torch's `reduction="mean"`); float32, or float64 for float64 predictions. */
  readonly value: Typed;
  /** ∂value/∂prediction in closed form, in the prediction's type and shape; built when called. */
  readonly gradient: () => Typed;
  /** The value with respect to which `gradient` is, if that is not the prediction: the rules differentiate what lies between the two. */
  readonly at?: Typed;
}

/** Sums over predicted rows. Divided by the number of counted rows, they are the loss and the accuracy. */
export interface Evaluation {
  /** Sum of the rows' losses. */
  readonly loss: number;
  /** Correctly classified rows (for a row with several labels, its share); absent if the loss does not classify. */
  readonly correct?: number;
  /** Rows that count in the loss (for a row with several labels, its share); default all. */
  readonly counted?: number;
  /** The number by which the sum of losses is divided, where rows have weights; default `counted`. */
  readonly weight?: number;
}

/** Options of an objective by name. */
export type ObjectiveOptions = Readonly<Record<string, number | string | boolean>>;

/** A loss as inject writes it into a file: in operators of the model's own opset that ONNX Runtime's training tools differentiate. */
export interface InjectedLoss {
  /** Element type of the labels: int64, or the prediction's type (float32 for half types). */
  readonly labels: "int64" | "prediction";
  /** The axes of a prediction with the given shape that labels have too, in order. */
  readonly axes: (prediction: Shape) => readonly number[];
  /**
   * Emits the mean over all rows, a scalar. The emitted nodes must not contain a length that the file leaves free.
   * @param prediction - float32 or float64
   * @throws SorthError for a prediction or an opset for which the loss cannot be written
   */
  readonly build: (g: Emit, prediction: Typed, labels: Typed) => Typed;
}

/** The tokens of a sample, for which a loss makes labels. */
export interface TokenSample {
  readonly tokens: Float64Array;
  /** 0 for padding; undefined where the data do not say. */
  readonly attention: Float64Array | undefined;
  /** Where the labels are written. */
  readonly labels: Float64Array;
  /** Random numbers of this sample: new ones each epoch, and always the same for an evaluation. */
  readonly random: RandomGenerator;
}

/** How a loss makes labels of tokens. */
export interface LabelMaker {
  readonly replacesTokens: boolean;
  /** Writes the labels of one sample, and may replace its tokens. */
  readonly make: (sample: TokenSample) => void;
}

/** A loss that compares a model's prediction with labels. Axis 0 of both counts rows. */
export interface Objective {
  /** As `--objective` spells it. */
  readonly name: string;
  /** Every option, defaults included; `{}` for a loss without options. Checkpoints and injected files keep them. */
  readonly options: ObjectiveOptions;
  /**
   * Operators that the loss applies itself, such as Softmax. If a model ends in one, the loss reads the value in front of it.
   * Default none.
   */
  readonly activations?: readonly string[];
  /** The class axis of predictions with the given shape, if there is one. */
  readonly classAxis?: (prediction: Shape) => number;
  readonly labels: {
    /** Element type of the labels in a graph. */
    readonly type: "int32" | "float";
    /** Shape of the labels for predictions of the given shape. @throws SorthError if the loss does not accept that shape. */
    readonly shape: (prediction: Shape) => Shape;
    /** Whether the loss takes no labels for predictions of the given shape; it is then given the prediction in their place. */
    readonly absent?: (prediction: Shape) => boolean;
    /** For language models: how labels are made of tokens where the data hold none. */
    readonly own?: (prediction: Shape) => LabelMaker;
  };
  /**
   * The loss reads embeddings: its predictions are `[N, units]` or, where a sample has several embeddings (a pair),
   * `[N, embeddings, units]`. `pooling` says how the embeddings of tokens become one.
   */
  readonly embeds?: { readonly pooling: "mean" | "cls" };
  /** Whether eᴸ of the mean loss L is reported too: the perplexity of a language model. */
  readonly perplexity?: true;
  /** The shape of a mask for predictions of the given shape; absent for a loss that takes no mask. */
  readonly maskShape?: (prediction: Shape) => Shape;
  /** The axis of labels that a mask lacks, where one number of it stands for several of a label; absent or undefined: none. */
  readonly maskedAxis?: (prediction: Shape) => number | undefined;
  /**
   * Emits the loss. The nodes that compute the value must not contain a batch size.
   * @param mask - above 0 where a place counts; the value is the mean over these places
   */
  readonly build: (g: Emit, prediction: Typed, labels: Typed, mask?: Typed) => ObjectiveGraph;
  /** The loss as inject writes it into a file; absent if inject cannot add it. */
  readonly injected?: InjectedLoss;
  /**
   * The loss of the first `rows` rows in float64, for exact figures of a partly filled batch.
   * @param shape - the shape of `predictions`; its first axis may be longer than `rows`
   * @param mask - above 0 where a place counts
   */
  readonly evaluate: (
    predictions: ArrayLike<number>,
    labels: ArrayLike<number>,
    rows: number,
    shape: Shape,
    mask?: ArrayLike<number>,
  ) => Evaluation;
  /**
   * Refuses labels for which the loss is not defined.
   * @param shape - the shape of the predictions
   * @throws DataError naming the first such label.
   */
  readonly checkLabels: (labels: ArrayLike<number>, shape: Shape) => void;
}

/**
 * The options given to a loss, with defaults for the others.
 * @throws UsageError for an option that the loss does not have
 */
export function withDefaults<O extends object>(loss: string, defaults: Required<O>, options: O): Required<O> {
  checkOptions(`the objective ${loss}`, options);
  const unknown = Object.keys(options).find((key) => !Object.hasOwn(defaults, key));
  if (unknown !== undefined) {
    const known = Object.keys(defaults).join(", ") || "none";
    throw new UsageError(`the objective ${loss} has no option "${unknown}"; it has ${known}`);
  }
  return { ...defaults, ...given(options) };
}

/** The prediction in the type for losses: float64 stays, half types become float32. */
export function computable(g: Emit, prediction: Typed): Typed {
  if (!isFloat(prediction.type)) {
    throw new SorthError(`the prediction "${prediction.name}" is ${prediction.type}; a loss needs floats`);
  }
  return prediction.type === "double" ? prediction : g.cast(prediction, "float");
}
