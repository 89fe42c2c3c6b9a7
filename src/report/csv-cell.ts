import { visible } from "../visible.ts";

/** Spreadsheets read a text that begins like this as a formula; numbers are not affected. */
const formula = /^[=+\-@＝＋－＠]/;

/**
 * A cell of comma-separated values (RFC 4180). Control characters are written as JSON writes them. A text that a spreadsheet
 * would read as a formula gets a leading apostrophe.
 */
export function csvCell(value: string | number): string {
  const shown = visible(`${value}`);
  const text = formula.test(shown) && Number.isNaN(Number(shown)) ? `'${shown}` : shown;
  return /[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
