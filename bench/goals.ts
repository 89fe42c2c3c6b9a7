import { type NetworkName, networks } from "./networks.ts";
import type { Spread } from "./statistics.ts";
import type { NetworkResult } from "./step-results.ts";

/** The largest ratios that are wanted, plain and with SOM. */
type Goal = readonly [plain: number, som: number];

const [eager, compiled] = ["PyTorch eager", "torch.compile"] as const;

/** Goals of a step's time by runtime; a network that is not listed has those of `others`. */
const timeGoals: Readonly<Record<string, Readonly<Record<string, Goal>>>> = {
  mlp: { [eager]: [1, 0.7], [compiled]: [1, 0.7] },
  cnn: { [compiled]: [1.1, 0.85] },
  others: { [eager]: [1, 0.7], [compiled]: [1.2, 0.9] },
};
const [floorGoal, memoryGoal] = [1.3, 1];

/** With quartiles further apart than this, the rounds were too uneven to tell what SOM adds to a step. */
const unresolved = 1;

/** Where the benchmark stands against its goals, as a Markdown table of the networks with their usual batch. */
export function goalsTable(results: readonly NetworkResult[]): string {
  const headings = ["", "time ÷ eager", "time ÷ torch.compile", "SOM ÷ its floor", "memory ÷ eager"];
  const rows = results
    .filter(({ network, batch }) => networks[network as NetworkName]?.batch === batch)
    .flatMap((result) => result.ratios.map((ratios) => rowOf(result, ratios)));
  const cells = rows.flat().filter((cell) => /^\d/.test(cell) || cell.startsWith("**"));
  const missed = cells.filter((cell) => cell.startsWith("**")).length;
  return [
    `| ${headings.join(" | ")} |`,
    `|${headings.map(() => "---|").join("")}`,
    ...rows.map((row) => `| ${row.join(" | ")} |`),
    "",
    `${cells.length - missed} of ${cells.length} measured goals are reached; the others are in bold, with the goal.`,
  ].join("\n");
}

function rowOf({ network, title }: NetworkResult, ratios: NetworkResult["ratios"][number]): string[] {
  const { regularized, time, memory, floor } = ratios;
  const goals = timeGoals[network] ?? timeGoals.others;
  const timeCell = (runtime: string) =>
    cellOf(time[runtime]?.median, goals?.[runtime]?.[regularized ? 1 : 0]);
  return [
    `${title}${regularized ? ", SOM" : ""}`,
    timeCell(eager),
    timeCell(compiled),
    floorCell(floor?.ratio),
    cellOf(memory[eager]?.whole, memoryGoal),
  ];
}

/** SOM's part of a step is the small difference of two large times: where it is not resolved, the quartiles in brackets. */
function floorCell(ratio: Spread | undefined): string {
  const [low, high] = ratio?.quartiles ?? [0, 0];
  const isResolved = low > 0 && high - low <= unresolved;
  if (ratio && !isResolved && low <= floorGoal) return `(${low.toFixed(1)} to ${high.toFixed(1)})`;
  return cellOf(ratio?.median, floorGoal);
}

/** A ratio, in bold with its goal if it is above; in brackets without a goal. */
function cellOf(ratio: number | undefined, goal: number | undefined): string {
  if (ratio === undefined) return "";
  const text = ratio.toFixed(2);
  if (goal === undefined) return `(${text})`;
  return ratio <= goal ? text : `**${text}** (goal ${goal})`;
}
