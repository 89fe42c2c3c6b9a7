import { isMap, isScalar, LineCounter, parseDocument } from "yaml";
import { UsageError } from "../../errors.ts";
import { textAt } from "../../onnx/read-file.ts";
import { reasonOf } from "../../onnx/write-file.ts";

/** A key at the top of a configuration file, and its value. */
export interface ConfigEntry {
  readonly key: string;
  readonly value: unknown;
  /** Line of the key in the file, from 1. */
  readonly line: number;
}

/**
 * Reads a configuration file, YAML or JSON: one key for each flag.
 * @throws UsageError for a file that cannot be read, with the line where it is wrong
 */
export function readConfig(path: string): ConfigEntry[] {
  const lines = new LineCounter();
  // The library would draw the place of every error, each time from the whole line: minutes for a long broken one.
  const document = parseDocument(textOf(path), { lineCounter: lines, prettyErrors: false });
  const [wrong] = document.errors;
  if (wrong) throw new UsageError(`"${path}", line ${lines.linePos(wrong.pos[0]).line}: ${wrong.message}`);
  const { contents } = document;
  if (!isMap(contents)) {
    throw new UsageError(`"${path}" must hold one key for each flag, as in "epochs: 3"`);
  }
  return contents.items.map(({ key, value }) => {
    const [at = 0] = (isScalar(key) && key.range) || [];
    const { line } = lines.linePos(at);
    try {
      return { key: `${key}`, value: plain(value, document), line };
    } catch {
      throw new UsageError(
        `"${path}", line ${line}: "${key}" repeats itself without end (& and *): write it out`,
      );
    }
  });
}

/** A value of the file without its anchors. @throws Error for one that holds itself, or grows with each level */
function plain(value: unknown, document: object): unknown {
  const found =
    value instanceof Object && "toJS" in value ? (value.toJS as (of: unknown) => unknown)(document) : value;
  JSON.stringify(found);
  return found;
}

/** The text of a file. JSON is YAML too; what calls itself JSON must be JSON. */
function textOf(path: string): string {
  const isJson = /\.json$/i.test(path);
  if (!isJson && !/\.ya?ml$/i.test(path)) {
    throw new UsageError(`"${path}" is no configuration: give a .yaml or .json file`);
  }
  try {
    const text = textAt(path);
    if (isJson) JSON.parse(text);
    return text;
  } catch (error) {
    throw new UsageError(`the configuration "${path}" cannot be read: ${reasonOf(error)}`);
  }
}
