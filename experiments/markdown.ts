import { differs, type Estimate } from "./statistics.ts";
import type { VariantResult } from "./variants.ts";

/** A table in Markdown; the first column holds names. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map((_, i) => (i === 0 ? "---" : "---:"))), ...rows.map(line)].join("\n");
}

/** `97.53 ± 0.21`, or the mean alone for a single value. */
export const plusMinus = ({ mean, margin }: Estimate, digits = 2): string =>
  Number.isFinite(margin) ? `${mean.toFixed(digits)} ± ${margin.toFixed(digits)}` : mean.toFixed(digits);

/** `+0.31 ± 0.12`, bold if the interval excludes 0. */
export function gainText(gain: Estimate | undefined): string {
  if (!gain) return "";
  const text = `${gain.mean < 0 ? "" : "+"}${plusMinus(gain)}`;
  return differs(gain) ? `**${text}**` : text;
}

/** The usual table of variants. */
export const variantTable = (results: readonly VariantResult[], first = "variant"): string =>
  table(
    [first, "accuracy %", "gain", "weight angles: spread °", "response angles: spread °"],
    results.map((result) => [
      `${result.name}${result.diverged > 0 ? ` (${result.diverged} of ${result.accuracies.length} diverged)` : ""}`,
      plusMinus(result.accuracy),
      gainText(result.gain),
      plusMinus(result.weightSpread, 1),
      plusMinus(result.responseSpread, 1),
    ]),
  );
