import { UsageError } from "../errors.ts";

/** Whether a pattern matches any of the names by which something is known. */
export function matchesAny(pattern: RegExp, names: readonly string[]): boolean {
  // A global or sticky expression remembers where it stopped: two tests of one name would differ.
  const lasting = pattern.global || pattern.sticky;
  const fresh = lasting ? new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, "")) : pattern;
  return names.some((name) => fresh.test(name));
}

/**
 * Refuses a pattern that matches nothing of what there is: it would be without effect.
 * @param option - how the user gave it: `--freeze`
 * @param things - what it chooses among: `layer`, `parameter`
 * @param known - the names of each of them, the one that is printed first
 * @throws UsageError that names what comes nearest
 */
export function checkMatches(
  option: string,
  pattern: RegExp,
  things: string,
  known: readonly (readonly string[])[],
): void {
  // Where there is nothing to choose from, that is what the user hears later.
  if (known.length === 0 || known.some((names) => matchesAny(pattern, names))) return;
  const near = nearNames(pattern.source, known).join(", ");
  throw new UsageError(
    `${option} ${pattern.source} matches no ${things}; near it: ${near} (sorth-onnx inspect lists them all)`,
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

/** The share of pairs that two texts have in common (the coefficient of Dice). */
function likeness(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  const common = [...a].filter((pair) => b.has(pair)).length;
  return a.size + b.size === 0 ? 0 : (2 * common) / (a.size + b.size);
}
