import { DataError } from "../errors.ts";
import type { Model } from "../onnx/model.ts";
import { conversionOf } from "./conversion.ts";

/**
 * The names of the classes that a model got with its last layer (`replaceHead`); undefined for one that was trained since, whose
 * classes a new training finds in its data.
 */
export function namesOf(model: Model | undefined): readonly string[] | undefined {
  const { classes, summary } = (model && conversionOf(model)) ?? {};
  return summary === undefined ? classes : undefined;
}

/**
 * The classes of labels that are texts: in the order in which the model names them, else in the order in which they are found.
 * @param what - what names such a class, for messages: `data.csv: the label`
 * @param names - of all classes of the model
 * @throws DataError for a class that the model does not name
 */
export function classesNamed(
  what: string,
  found: readonly string[],
  names: readonly string[] | undefined,
): readonly string[] {
  if (!names) return found;
  const other = found.find((one) => !names.includes(one));
  if (other === undefined) return names;
  throw new DataError(
    `${what} "${other}" is none of the classes that the model names, ${names.slice(0, 20).join(", ")}: give it others (--classes)`,
  );
}
