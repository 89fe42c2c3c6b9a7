import { typedOrHidden } from "../analysis/obstacle.ts";
import type { Seed } from "../autodiff/walk.ts";
import { SorthError, UsageError } from "../errors.ts";
import { checkEmitted } from "../graph/check-emitted.ts";
import type { Typed } from "../graph/emit-base.ts";
import type { Value } from "../graph/node.ts";
import { type Shape, sameShape, shapeText } from "../graph/shapes.ts";
import type { LabelMaker } from "../losses/objective.ts";
import { choosePrediction } from "../losses/prediction.ts";
import {
  isCombined,
  isLossModel,
  isObjective,
  isOfEmbeddings,
  type NamedTerm,
  termsOf,
} from "../losses/terms.ts";
import type { DataTypeName } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { LossOptions } from "./options.ts";
import { inputName, takenPrefix } from "./ports.ts";
import type { PreparedGraph } from "./prepared-graph.ts";

/** One of the losses that are added up, in a graph. */
export interface TermGraph {
  readonly term: NamedTerm;
  /** Its value without its weight, a scalar. */
  readonly value: Typed;
  /** The loss of each of several places, whose mean is `value`, for losses that only a graph computes. */
  readonly places: Typed | undefined;
  /** The value that it reads. */
  readonly prediction: Typed | undefined;
  readonly seed: Seed;
}

/** The losses of an objective in a graph, and the inputs that they added. */
interface TermGraphs {
  readonly terms: readonly TermGraph[];
  /** The input `labels`, if the objective added it. */
  readonly labels: Value | undefined;
  /** How the objective makes labels of tokens where the data hold none. */
  readonly ownLabels: LabelMaker | undefined;
  /** Other inputs for labels and masks. */
  readonly targets: readonly Value[];
}

/** Adds every loss of an objective to a graph, with inputs for labels and masks. */
export function emitTerms(prepared: PreparedGraph, options: LossOptions): TermGraphs {
  const { objective, output } = options;
  if (!objective) throw new UsageError("no objective was given");
  if (output !== undefined && isCombined(objective)) {
    throw new UsageError(
      `"${output}" was given as the prediction, but each loss of a combined objective names its own: write output=${output} there`,
    );
  }
  const all = termsOf(objective, output);
  // Labels may have the name of an output, which is then renamed: find the outputs first.
  const chosen = all.map((term) => predictionOf(prepared, term, options));
  const inputs = new AddedInputs(prepared);
  const terms = all.map((term, i) => emitTerm(prepared, term, chosen[i], inputs));
  const [ownLabels] = all.flatMap((term, i) => {
    const shape = chosen[i]?.shape;
    const isOwn = !isLossModel(term.objective) && term.labels === undefined && shape;
    return isOwn ? (term.objective.labels.own?.(shape) ?? []) : [];
  });
  return { terms, labels: inputs.labels, ownLabels, targets: [...prepared.lossInputs, ...inputs.targets] };
}

function predictionOf(prepared: PreparedGraph, term: NamedTerm, options: LossOptions): Typed | undefined {
  const { graph, embeddingsOf } = prepared;
  const { objective, output } = term;
  if (isLossModel(objective)) return undefined;
  if (isOfEmbeddings(objective) && embeddingsOf) return embeddingsOf(prepared, term, options);
  const { value, remark } = choosePrediction(graph, objective, output);
  if (remark) options.onMessage?.(remark);
  const isTaught = prepared.taught?.values.has(term.name);
  return typedOrHidden((isTaught ? undefined : prepared.samplesFirst?.(objective, value)) ?? value);
}

function emitTerm(
  prepared: PreparedGraph,
  term: NamedTerm,
  prediction: Typed | undefined,
  inputs: AddedInputs,
): TermGraph {
  const { emit } = prepared;
  const { objective } = term;
  if (isLossModel(objective) || !prediction) {
    const loss = typedOrHidden(prepared.lossModels.get(term.name) as Value);
    return { term, ...meanOf(prepared, loss), prediction: undefined };
  }
  const input = (name: string | undefined, type: DataTypeName, shape: Shape) => {
    const value = inputs.take(name, type, shape, term.name);
    const cast = emit.cast(value, type);
    return sameShape(cast.shape, shape) ? cast : emit.reshape(cast, shape);
  };
  const { type, shape } = objective.labels;
  if (isObjective(objective) && objective.labels.absent?.(prediction.shape)) {
    shape(prediction.shape);
    const { value, at = prediction, gradient } = objective.build(emit, prediction, prediction);
    return { term, value, prediction, places: undefined, seed: { value: at, gradient } };
  }
  const labels =
    taughtLabels(prepared, term, prediction) ??
    input(term.labels, type === "float" ? prediction.type : type, shape(prediction.shape));
  if (!isObjective(objective)) {
    const loss = objective.loss(emit, prediction, labels);
    checkEmitted(`the function of the loss ${term.objective.name}`, loss);
    return { term, ...meanOf(prepared, loss), prediction };
  }
  const mask =
    term.mask !== undefined && objective.maskShape
      ? input(term.mask, "float", objective.maskShape(prediction.shape))
      : undefined;
  const built = objective.build(emit, prediction, labels, mask);
  const seed = { value: built.at ?? prediction, gradient: built.gradient };
  return { term, value: built.value, places: undefined, prediction, seed };
}

/** The labels of a loss that reads a teacher; undefined for others. */
function taughtLabels({ emit, taught }: PreparedGraph, term: NamedTerm, prediction: Typed) {
  const value = taught?.values.get(term.name);
  return taught && value && taught.labels(emit, term, prediction, typedOrHidden(value));
}

/** The mean of a loss that the rules differentiate. */
function meanOf({ emit }: PreparedGraph, loss: Typed): Pick<TermGraph, "value" | "places" | "seed"> {
  const whole = elementCount(loss.shape) === 1;
  const mean = whole ? emit.reshape(loss, []) : emit.meanOfAll(loss);
  // The seed is a value of its own, so that nothing else adds to its gradient.
  const value = mean.type === "double" ? mean : emit.cast(mean, "float");
  const seed = { value, gradient: () => emit.filled(1, [], value.type) };
  return { value, places: whole ? undefined : loss, seed };
}

/** Inputs for labels and masks, one for each name. */
class AddedInputs {
  labels: Value | undefined;
  readonly targets: Value[] = [];
  readonly #prepared: PreparedGraph;
  readonly #named = new Map<string, Value>();

  constructor(prepared: PreparedGraph) {
    this.#prepared = prepared;
  }

  /**
   * The input for an array; an input of the model is used as it is.
   * @param name - undefined for the labels of the dataset
   * @param term - the loss that reads it, for messages
   */
  take(name: string | undefined, type: DataTypeName, shape: Shape, term: string): Value {
    const { graph, taken } = this.#prepared;
    const key = name ?? "";
    const before =
      this.#named.get(key) ?? (name === undefined ? undefined : givenInput(this.#prepared, name));
    if (before) {
      const same = elementCount(before.shape ?? []) === elementCount(shape);
      const isAdded = this.#named.has(key);
      if (!same || (isAdded && (before.type !== type || !sameShape(before.shape ?? [], shape)))) {
        throw new SorthError(
          `the loss "${term}" needs "${name ?? "labels"}" as ${type} ${shapeText(shape)}, but ${isAdded ? "another loss takes it" : "the model's input is"} as ${before.type} ${shapeText(before.shape ?? [])}: name an array of its own`,
        );
      }
      return before;
    }
    const wanted = name ?? "labels";
    const holder = graph.value(wanted);
    // The model's own output may have the name; it is read by value here, so it can have another one.
    if (name !== undefined && holder?.producer) {
      graph.rename(holder, graph.freshName(`${takenPrefix}output/${name}`));
    }
    const added = graph.addInput(inputName(graph, wanted, taken), type, shape);
    this.#named.set(key, added);
    if (name === undefined) this.labels = added;
    else this.targets.push(added);
    return added;
  }
}

/** The model's input of a name, which is fed with data. */
const givenInput = ({ graph }: PreparedGraph, name: string): Value | undefined =>
  graph.inputs.find((input) => input.name === name && !input.initializer);
