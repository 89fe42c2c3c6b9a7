/**
 * Control characters, and characters that reverse the direction of a text or have no width: with them a name in a file could
 * rewrite the terminal's contents, or look like another name.
 */
const hidden =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** A text for one line of a terminal or one cell: invisible characters are written as JSON writes them, `\u001b`. */
export const visible = (text: string): string => text.replace(hidden, escaped);

/** The same for a text of several lines. Line breaks stay; picocolors' colours stay with `colors`. */
export function visibleLines(text: string, colors = false): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours begin with one
  const kept = colors ? /(\n|\u001b\[\d{1,2}m)/ : /(\n)/;
  return text
    .split(kept)
    .map((part, index) => (index % 2 === 1 ? part : visible(part)))
    .join("");
}
