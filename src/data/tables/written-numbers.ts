import { isMissing, numberIn } from "./table-source.ts";

/** How tables of text write numbers that are no numbers to a reader of tables, pandas among them. */
const forms: readonly (readonly [RegExp, string])[] = [
  [/^[-+]?[\d.,]*\d\s*%$/, "numbers with percent signs"],
  [/^[-+]?\s*[$€£¥]\s*\d[\d.,]*$|^[-+]?\d[\d.,]*\s*[$€£¥]$/, "amounts with signs of currencies"],
  [/^[-+]?\d{1,3}([,.'’_\s])\d{3}(\1\d{3})*([.,]\d+)?$/, "numbers with separators of thousands"],
  [/^[-+]?\d*,\d+$/, "numbers with decimal commas"],
  [/^[−–]\s*\d[\d.,]*$|^\(\d[\d.,]*\)$/, "numbers with signs that are no minus"],
  [/^\d{4}[-/.]\d\d?[-/.]\d\d?([T ]\d\d?:\d\d.*)?$|^\d\d?[-/.]\d\d?[-/.](\d\d|\d{4})( .*)?$/, "dates"],
  [/^\d\d?:\d\d(:\d\d(\.\d+)?)?$/, "times"],
];

/**
 * What the texts of a column are, if all of them are numbers, dates or times that were written for people: each text becomes a class,
 * or a number of its own, which hardly anybody wants.
 */
export function writtenNumbers(
  texts: readonly string[],
): { readonly what: string; readonly example: string } | undefined {
  let found: { what: string; example: string } | undefined;
  for (const text of texts) {
    const form = forms.find(([pattern]) => pattern.test(text));
    if (form) found ??= { what: form[1], example: text };
    else if (numberIn(text) === undefined && !isMissing(text)) return undefined;
  }
  return found;
}
