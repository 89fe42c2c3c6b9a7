import { escaped } from "../analysis/name-patterns.ts";

/**
 * Whether a regular expression may take time that grows steeply with the text: nested repetition, repeated alternatives, back
 * references, or many repetitions in sequence. May also be true for harmless ones.
 */
export function mayBacktrack(source: string): boolean {
  if (source.length > 1000 || /\\[1-9k]/.test(source)) return true;
  // Treat escapes and classes as single characters.
  const plain = source.replace(/\\./g, "e").replace(/\[[^\]]*\]/g, "c");
  const repeats = plain.match(/[*+]|\{\d+,?\d*\}/g) ?? [];
  if (repeats.length > 3) return true;
  // Find a repeated group that contains a repetition or an alternative, also in inner groups.
  const open: { branching: boolean }[] = [];
  for (let i = 0; i < plain.length; i++) {
    const [at, next = ""] = [plain[i], plain[i + 1]];
    if (at === "(") open.push({ branching: false });
    else if (at === ")") {
      const group = open.pop();
      if (group?.branching && /[*+{]/.test(next)) return true;
      const outer = open.at(-1);
      if (outer && group?.branching) outer.branching = true;
    } else if (at && /[*+{|]/.test(at)) {
      const group = open.at(-1);
      if (group) group.branching = true;
    }
  }
  return false;
}

let isLinear = false;

/** Declares that this process matches in linear time where a pattern backtracks too long: the command line starts Node that way. */
export const matchesInLinearTime = (): void => {
  isLinear = true;
};

/** Whether matching a pattern from a file may never end in this process. */
export function mayTakeForever({ source, flags }: RegExp): boolean {
  // The engine whose time is linear does not take these forms.
  const isSlow = () => /[iuvy]/.test(flags) || /\\[1-9k]|\(\?<?[=!]|\{\d/.test(source);
  return mayBacktrack(source) && (!isLinear || isSlow());
}

/** A regular expression that matches exactly these names. */
export const patternOfNames = (names: readonly string[]): RegExp =>
  names.length === 0 ? /^(?!)/ : new RegExp(`^(?:${names.map(escaped).join("|")})$`);
