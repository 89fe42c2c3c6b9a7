import { UsageError } from "../errors.ts";
import type { Emit } from "../graph/emit.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Shape } from "../graph/shapes.ts";
import { checkOptions } from "../known-options.ts";
import type { Objective } from "./objective.ts";

/** A loss of the user's own, from {@link ownLoss}. */
export interface OwnLoss extends Pick<Objective, "name" | "labels"> {
  /** Emits the loss: one number, or several, whose mean is taken. */
  readonly loss: (g: Emit, prediction: Typed, labels: Typed) => Typed;
}

/** What {@link ownLoss} is made of. */
export interface OwnLossOptions extends Pick<OwnLoss, "loss"> {
  /** Its name in messages and events; default "own". */
  readonly name?: string;
  /**
   * `numbers` (default): floats in the prediction's shape. `classes`: int32 in the prediction's shape without axis 1, the
   * classes. Or the type and a function from the prediction's shape to that of the labels.
   */
  readonly labels?: "numbers" | "classes" | Objective["labels"];
}

/**
 * A loss of the user's own as a function that emits operators. It is differentiated with the model, so it needs no gradient;
 * an operator without a derivative is an error that names it.
 *
 * @throws UsageError for anything but a function, and for another kind of labels
 * @example
 * const logCosh = ownLoss({
 *   name: "log-cosh",
 *   loss: (g, prediction, labels) => {
 *     const d = g.sub(prediction, labels); // [batch, units]
 *     return g.sub(g.softplus(g.mul(d, 2)), g.add(d, Math.LN2)); // log cosh d, of which the mean is taken
 *   },
 * });
 */
export function ownLoss(options: OwnLossOptions): OwnLoss {
  checkOptions("ownLoss", options);
  const { name = "own", labels = "numbers", loss } = options;
  if (typeof loss !== "function") {
    throw new UsageError(`the loss ${name} needs a function (g, prediction, labels) that emits it`);
  }
  return { name, labels: labelsOf(name, labels), loss };
}

function labelsOf(name: string, labels: OwnLossOptions["labels"]): Objective["labels"] {
  if (labels === "classes")
    return { type: "int32", shape: (prediction: Shape) => prediction.toSpliced(1, 1) };
  if (labels === "numbers" || labels === undefined)
    return { type: "float", shape: (prediction) => prediction };
  if (typeof labels === "object" && typeof labels.shape === "function") return labels;
  throw new UsageError(`labels of the loss ${name} are "numbers", "classes", or { type, shape }`);
}
