import { UsageError } from "./errors.ts";
import { tagOf } from "./known-options.ts";
import { isObject, whatIs } from "./what-is.ts";

/** @throws UsageError for what is no text, such as the name of a file */
export function checkText(what: string, given: unknown): void {
  if (typeof given !== "string") throw new UsageError(`${what} is a text, not ${whatIs(given)}`);
}

/** @throws UsageError for what is no list */
export function checkList(what: string, given: unknown): void {
  if (!Array.isArray(given)) throw new UsageError(`${what} are a list, not ${whatIs(given)}`);
}

/** @throws UsageError for what are no bytes, such as their buffer; bytes of another realm are some */
export function checkBytes(what: string, given: unknown): void {
  if (tagOf(given) === "Uint8Array") return;
  throw new UsageError(
    `${what} are bytes, as in new Uint8Array(await file.arrayBuffer()), not ${whatIs(given)}`,
  );
}

/**
 * @param made - what it is and where it comes from: `a step is what buildStep gives`
 * @throws UsageError for what is no object, or lacks a field
 */
export function checkFields(made: string, given: unknown, ...fields: readonly string[]): void {
  if (isObject(given) && fields.every((field) => field in given)) return;
  throw new UsageError(`${made}, not ${whatIs(given)}`);
}
