/**
 * Names in a text: one per line, or, in a single line, separated by commas. Names that occur twice count once.
 *
 * @example
 * classesIn("cat, dog"); // ["cat", "dog"]
 */
export function classesIn(text: string): string[] {
  const separator = text.trim().includes("\n") ? "\n" : ",";
  const names = text.split(separator).map((name) => name.trim());
  return [...new Set(names.filter((name) => name !== ""))];
}

/** How the images of a folder fit the names that the user typed; undefined if they do. */
export function mismatch(names: readonly string[], folders: readonly string[]): string | undefined {
  const [unknown, empty] = [
    folders.filter((folder) => !names.includes(folder)),
    names.filter((name) => !folders.includes(name)),
  ];
  if (unknown.length > 0) {
    return `no such class: ${unknown.slice(0, 5).join(", ")}; the names must be those of the folders (${folders.slice(0, 10).join(", ")}), in any order`;
  }
  return empty.length > 0 ? `no images of ${empty.slice(0, 5).join(", ")}` : undefined;
}

/**
 * The user's text after the folders changed. Names that were those of the former folders, in an order of the user's, follow the
 * new ones; other texts stay.
 */
export function followed(
  text: string,
  former: readonly string[] | undefined,
  folders: readonly string[],
): string {
  const names = classesIn(text);
  if (!former || names.length !== former.length || mismatch(names, former) !== undefined) return text;
  const kept = names.filter((name) => folders.includes(name));
  return [...kept, ...folders.filter((name) => !kept.includes(name))].join("\n");
}
