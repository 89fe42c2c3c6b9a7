import { markKey, originalPrefix } from "../analysis/block-nodes.ts";
import { FileError, messageOf, type SorthError } from "../errors.ts";
import { isRecord } from "../json.ts";
import type { ObjectiveOptions } from "../losses/objective.ts";
import { crc32 } from "../onnx/crc32.ts";
import type { Penalty, PenaltyOptions } from "../penalties/penalty.ts";
import { commonWeight } from "../penalties/plan.ts";

/** A penalty and the patterns of its layers, as a mark keeps them. */
export interface MarkedPenalty {
  readonly name: string;
  readonly options: PenaltyOptions;
  /** Its factor in the loss. The first one above 0 is w; R counts the others relative to it. */
  readonly weight: number;
  readonly include?: MarkedPattern;
  readonly exclude?: MarkedPattern;
  /** Factor of its weight over a training run; the block itself ignores it. */
  readonly schedule?: string;
}

/** A regular expression. */
export interface MarkedPattern {
  readonly source: string;
  readonly flags: string;
}

/** A layer that has a penalty, as a mark keeps it. */
export interface MarkedSite {
  readonly name: string;
  /** Labels of the penalties that act on it: their names, where the second with the same name is `name.2`, and so on. */
  readonly penalties: readonly string[];
  /** The value that holds its scalar. */
  readonly value: string;
  /** For a layer inside a function: the block's names for its response, weight and bias, by the names that these have after inlining. */
  readonly inner?: Readonly<Record<string, string>>;
}

/** An added loss, as a mark keeps it. */
export interface MarkedObjective {
  readonly name: string;
  /** Options that differ from the loss's defaults. */
  readonly options?: ObjectiveOptions;
  /** The value of the model that is compared with the labels. */
  readonly prediction: string;
  /** The added input. */
  readonly labels: string;
  /** The added output. */
  readonly output: string;
}

/** A value of the model that was renamed because the block took its name. `original` is what it is called now. */
export interface RenamedValue {
  readonly name: string;
  readonly original: string;
}

/**
 * A file's record of the block injected into it: metadata_props["sorth"], as JSON. It suffices to build the same penalties
 * again, to check them, and to remove them.
 */
export interface Mark {
  readonly version: 1;
  /** The output that holds R, unweighted. */
  readonly penalty: string;
  readonly penalties: readonly MarkedPenalty[];
  readonly sites: readonly MarkedSite[];
  /** Outputs that hold the scalar of a single site. */
  readonly perSite: readonly string[];
  /** The model's own output that became loss + w·R; `original` is the new name of the loss without w·R. */
  readonly loss?: RenamedValue;
  readonly objective?: MarkedObjective;
  /** Gradients of a training model to which w·∂R/∂response or w·∂R/∂parameter was added; `original` as in {@link Mark.loss}. */
  readonly gradients?: readonly RenamedValue[];
  /** The model's own values that are named like the block's, or computed by such nodes; strip leaves them alone. */
  readonly kept?: readonly string[];
  /** Version of the random generator: 2 is src/random.ts. Absent if there are no random numbers, and from earlier versions. */
  readonly random?: number;
  /** Needed only for byte-exact removal. */
  readonly file: {
    /** Number of bytes that encoded the graph's length. */
    readonly graphLengthWidth: number;
    /** Original records of nodes that were replaced because they refer to the loss; in file order, base64. */
    readonly replaced?: readonly string[];
  };
}

/** The values of the model that have another name while the block is in it. */
export const renamedValues = ({ loss, gradients }: Pick<Mark, "loss" | "gradients">): RenamedValue[] => [
  ...(loss ? [loss] : []),
  ...(gradients ?? []),
];

/** w of loss + w·R: the first weight above 0. */
export const wOf = ({ penalties }: Pick<Mark, "penalties">): number =>
  commonWeight(penalties.map(({ weight }) => weight));

/** The way in which this version draws random numbers. */
export const randomVersion = 2;

/** Whether a penalty depends on random numbers. */
export const isSeeded = ({ definition, options }: Penalty): boolean => definition.seeded?.(options) ?? false;

/** A mark as text for the file, with a checksum that reveals damage before anything is restored from it. */
export const markText = (mark: Mark): string => sealed(mark);

export const sealed = (content: object): string =>
  JSON.stringify({ ...content, checksum: crc32(new TextEncoder().encode(JSON.stringify(content))) });

/**
 * Reads the text of a mark of version 1, without its checksum.
 * @param damaged - makes the error for a text that is not a mark, or that was changed
 */
export function unsealed(text: string, damaged: (reason: string) => SorthError): Record<string, unknown> {
  let mark: unknown;
  try {
    mark = JSON.parse(text);
  } catch (error) {
    throw damaged(messageOf(error));
  }
  if (!isRecord(mark)) throw damaged("it is not an object");
  if (mark.version !== 1) {
    throw damaged(`it has version ${JSON.stringify(mark.version)}, this program reads version 1`);
  }
  const { checksum, ...rest } = mark;
  if (checksum !== undefined && sealed(rest) !== text) throw damaged("its checksum does not fit");
  return rest;
}

/** Reads a mark. @throws SorthError if it is damaged or from a later version. */
export function parseMark(text: string): Mark {
  const mark = unsealed(text, damaged);
  if (!isMark(mark)) throw damaged("a field is missing or of another type");
  return mark;
}

/** The error for a mark that strip must not trust. */
export const damaged = (reason: string): SorthError =>
  new FileError(
    `metadata_props["${markKey}"] of the model is damaged (${reason}); inject into the original again`,
  );

export const isText = (value: unknown): value is string => typeof value === "string";

const hasTexts = (value: unknown, ...keys: string[]): value is Record<string, unknown> =>
  isRecord(value) && keys.every((key) => isText(value[key]));

export const isListOf = (value: unknown, check: (item: unknown) => boolean): boolean =>
  Array.isArray(value) && value.every(check);

const isOptional = (value: unknown, check: (item: unknown) => boolean): boolean =>
  value === undefined || check(value);

const isPattern = (value: unknown): boolean => hasTexts(value, "source", "flags");

const isPenalty = (value: unknown): boolean =>
  hasTexts(value, "name") &&
  isRecord(value.options) &&
  typeof value.weight === "number" &&
  isOptional(value.include, isPattern) &&
  isOptional(value.exclude, isPattern) &&
  isOptional(value.schedule, isText);

const isSite = (value: unknown): boolean =>
  hasTexts(value, "name", "value") &&
  isListOf(value.penalties, isText) &&
  isOptional(value.inner, (names) => isRecord(names) && Object.values(names).every(isText));

const isRenamed = (value: unknown): boolean =>
  hasTexts(value, "name", "original") && String(value.original).startsWith(originalPrefix);

const isObjective = (loss: unknown): boolean =>
  hasTexts(loss, "name", "prediction", "labels", "output") && isOptional(loss.options, isRecord);

/** Whether a value is a number of bytes that encode a length: a varint has at most 10. */
export const isWidth = (value: unknown): boolean =>
  Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 10;

function isMark(mark: Record<string, unknown>): mark is Record<string, unknown> & Mark {
  const { file } = mark;
  return (
    isText(mark.penalty) &&
    isListOf(mark.perSite, isText) &&
    isListOf(mark.penalties, isPenalty) &&
    isListOf(mark.sites, isSite) &&
    isOptional(mark.random, (random) => typeof random === "number") &&
    isOptional(mark.loss, isRenamed) &&
    isOptional(mark.gradients, (list) => isListOf(list, isRenamed)) &&
    isOptional(mark.kept, (list) => isListOf(list, isText)) &&
    isOptional(mark.objective, isObjective) &&
    isRecord(file) &&
    isWidth(file.graphLengthWidth) &&
    isOptional(file.replaced, (list) => isListOf(list, isText))
  );
}
