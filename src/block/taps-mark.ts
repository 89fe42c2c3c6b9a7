import { FileError, type SorthError } from "../errors.ts";
import { isRecord } from "../json.ts";
import { isListOf, isText, isWidth, sealed, unsealed } from "./mark.ts";

/** Key of metadata_props under which a file keeps which of its outputs `tap` added. */
export const tapsKey = "sorth.taps";

/** A file's record of the inner values that became outputs: all that `strip` needs to remove them. */
export interface TapsMark {
  readonly version: 1;
  /** The added outputs, in the order of the file. */
  readonly outputs: readonly string[];
  readonly file: {
    /** Number of bytes that encoded the graph's length. */
    readonly graphLengthWidth: number;
  };
}

/** A mark as text for the file. */
export const tapsText = (mark: TapsMark): string => sealed(mark);

/** Reads a mark. @throws SorthError if it is damaged or from a later version */
export function parseTaps(text: string): TapsMark {
  const mark = unsealed(text, damagedTaps);
  if (!isTapsMark(mark)) throw damagedTaps("a field is missing or of another type");
  return mark;
}

/** The error for a mark that strip must not trust. */
export const damagedTaps = (reason: string): SorthError =>
  new FileError(`metadata_props["${tapsKey}"] of the model is damaged (${reason}); tap the original again`);

const isTapsMark = (mark: Record<string, unknown>): mark is Record<string, unknown> & TapsMark =>
  isListOf(mark.outputs, isText) && isRecord(mark.file) && isWidth(mark.file.graphLengthWidth);
