import { UsageError } from "../errors.ts";

/** Whether a pattern matches at least one of the names. */
export function matchesAny(pattern: RegExp, names: readonly string[]): boolean {
  // A global or sticky expression remembers where it stopped, so two tests of one name could differ.
  const lasting = pattern.global || pattern.sticky;
  const fresh = lasting ? new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, "")) : pattern;
  return names.some((name) => fresh.test(name));
}

/** A name as the source of a pattern that matches it literally. */
export const escaped = (name: string): string => name.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");

/**
 * Refuses a pattern that matches nothing, because it would have no effect.
 * @param option - the option with which the user gave it: `--freeze`
 * @param things - the kind of thing that it selects: `layer`, `parameter`
 * @param known - all names of each thing; the first one is printed
 * @param lister - the command that lists the things
 * @throws UsageError that lists the most similar names
 */
export function checkMatches(
  option: string,
  pattern: RegExp,
  things: string,
  known: readonly (readonly string[])[],
  lister = "sorth-onnx inspect",
): void {
  // If there is nothing to choose from, a later error says so.
  if (known.length === 0 || known.some((names) => matchesAny(pattern, names))) return;
  const near = nearNames(pattern.source, known).join(", ");
  throw new UsageError(
    `${option} ${pattern.source} matches no ${things}; near it: ${near} (${lister} lists them all)`,
  );
}

/** The five names most like a pattern, one for each thing. */
function nearNames(source: string, known: readonly (readonly string[])[]): string[] {
  const wanted = pairsOf(source.replace(/\\[a-zA-Z]|[\\^$()[\]{}|?*+]/g, ""));
  const ranked = known.flatMap((names) => {
    const scored = names.map((name) => ({ name, score: likeness(wanted, pairsOf(name)) }));
    const best = scored.reduce((a, b) => (b.score > a.score ? b : a), scored[0] ?? { name: "", score: 0 });
    return best.name === "" ? [] : [best];
  });
  ranked.sort((a, b) => b.score - a.score);
  return [...new Set(ranked.map(({ name }) => name))].slice(0, 5);
}

/** The pairs of neighbouring letters of a text, at most its first 200. */
function pairsOf(text: string): Set<string> {
  const letters = text.toLowerCase().slice(0, 200);
  return new Set(Array.from({ length: Math.max(letters.length - 1, 0) }, (_, i) => letters.slice(i, i + 2)));
}

/** The share of letter pairs that two texts have in common (the Dice coefficient). */
function likeness(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  const common = [...a].filter((pair) => b.has(pair)).length;
  return a.size + b.size === 0 ? 0 : (2 * common) / (a.size + b.size);
}
