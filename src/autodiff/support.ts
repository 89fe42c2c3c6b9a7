import type { RuleEntry } from "./rule.ts";
import { rules } from "./table.ts";

const stateOf = (entry: RuleEntry): string => {
  if ("vjp" in entry) return "rule";
  return "constant" in entry ? `zero: ${entry.constant}` : `refused: ${entry.refused}`;
};

const opsetsOf = (entry: RuleEntry): string =>
  "vjp" in entry
    ? [...new Set(entry.samples.map(({ opset }) => opset ?? 18))].sort((a, b) => a - b).join(", ")
    : "";

/** The support table in Markdown: what `docs/ops.md` holds. */
export function opsTable(): string {
  const rows = Object.entries(rules).sort(([a], [b]) => a.localeCompare(b));
  const differentiable = rows.filter(([, entry]) => "vjp" in entry).length;
  return [
    "# Operators",
    "",
    "Generated from the table of derivatives (`npm run docs:ops`); a test holds it against the code.",
    "An operator that is missing here is refused by name when a gradient has to pass through it, before anything is written.",
    "Models are brought to opset 18 first; newer ones stay as they are.",
    "",
    `${differentiable} operators have a derivative, ${rows.length - differentiable} pass no gradient on.`,
    "",
    "| operator | derivative | cases checked against finite differences | in opset |",
    "|---|---|---|---|",
    ...rows.map(
      ([name, entry]) =>
        `| ${name} | ${stateOf(entry)} | ${"vjp" in entry ? entry.samples.length : ""} | ${opsetsOf(entry)} |`,
    ),
    "",
  ].join("\n");
}
