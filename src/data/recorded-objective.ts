import { FileError } from "../errors.ts";
import { graphOf } from "../graph/model-graph.ts";
import { isRecord } from "../json.ts";
import type { Objective } from "../losses/objective.ts";
import { crossEntropyIn } from "../losses/own-objective.ts";
import { objectiveFromStored, type StoredObjective } from "../losses/stored.ts";
import { type AnyObjective, combined, isCombined } from "../losses/terms.ts";
import { isFloat } from "../onnx/data-types.ts";
import type { Model } from "../onnx/model.ts";
import { conversionKey, conversionOf, type DataConversion } from "./conversion.ts";
import { objectiveOfTexts } from "./text/objective.ts";

/** The loss with which a model was trained, and the value of the model that it reads. */
export interface RecordedObjective {
  readonly objective: AnyObjective;
  readonly output?: string;
}

/**
 * The loss that a trained model records; undefined for a model without such a record. Losses of the user's own, and losses
 * beside a teacher, are not recorded.
 * @param output - the value that is asked for; of several losses, those that read it
 * @throws SorthError for a damaged record, or a loss that this version does not have
 */
export function recordedObjective(model: Model, output?: string): RecordedObjective | undefined {
  const record = conversionOf(model);
  const stored = record?.objective;
  if (!stored) return undefined;
  checkStored(stored, model);
  const objective = objectiveOfTexts(objectiveFromStored(stored as StoredObjective), record.text);
  if (output === undefined) {
    return { objective, ...(stored.output !== undefined && { output: stored.output }) };
  }
  if (!isCombined(objective)) return { objective, output };
  const [own, ...more] = objective.terms
    .filter((term) => term.output === output)
    .map(({ output: _, ...term }) => term);
  return own && { objective: combined([own, ...more]), output };
}

/** The model's own loss with which it was trained (`train --loss`), and what it reads. */
export interface RecordedLoss {
  readonly loss: string;
  /** The scores of its cross-entropy, else the first output of floats beside it. */
  readonly scores?: string;
  /** Its cross-entropy, which makes scores those of classes. */
  readonly objective?: Objective;
  /** Whether the loss is that cross-entropy, so that it can be computed sample by sample. */
  readonly isObjective: boolean;
}

/** The own loss that a trained model records; undefined without one, and where the file no longer computes it. */
export function recordedLoss(model: Model): RecordedLoss | undefined {
  const name = conversionOf(model)?.loss;
  const graph = name === undefined ? undefined : graphOf(model);
  const loss = graph?.value(name ?? "");
  if (!graph || !loss) return undefined;
  const own = crossEntropyIn(loss);
  const scores = own?.prediction ?? graph.outputs.find((output) => output !== loss && isFloat(output.type));
  return {
    ...{ loss: loss.name, isObjective: own?.isLoss ?? false },
    ...(own && { objective: own.objective }),
    ...(scores && { scores: scores.name }),
  };
}

/** @throws FileError for what is no loss in the form of a checkpoint */
function checkStored(stored: NonNullable<DataConversion["objective"]>, { path = "the model" }: Model): void {
  const isText = (value: unknown) => value === undefined || typeof value === "string";
  const isLoss = (value: unknown): boolean =>
    isRecord(value) && typeof value.name === "string" && isRecord(value.options);
  const isTerm = (term: unknown): boolean =>
    isRecord(term) &&
    isLoss(term.objective) &&
    [term.name, term.output, term.labels, term.mask].every(isText) &&
    (term.weight === undefined || typeof term.weight === "number");
  const { terms, output } = stored as Partial<Record<keyof typeof stored, unknown>>;
  const hasTerms = terms === undefined || (Array.isArray(terms) && terms.every(isTerm));
  if (isLoss(stored) && isText(output) && hasTerms) return;
  throw new FileError(`${path}: the record of the loss (${conversionKey}) is damaged`);
}
