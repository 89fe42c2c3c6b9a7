/**
 * Control characters, and those that turn the direction of a text or take no room: with them a name in a file could
 * rewrite what a terminal shows, or look like another.
 */
const hidden =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** A text for one line of a terminal or one cell: what cannot be seen is written as JSON writes it, `\u001b`. */
export const visible = (text: string): string => text.replace(hidden, escaped);

/** The same for a text of several lines, which stay; so do the colours that picocolors gives. */
export function visibleLines(text: string, colors = false): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours begin with one
  const kept = colors ? /(\n|\u001b\[\d{1,2}m)/ : /(\n)/;
  return text
    .split(kept)
    .map((part, index) => (index % 2 === 1 ? part : visible(part)))
    .join("");
}
