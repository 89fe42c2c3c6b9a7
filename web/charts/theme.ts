import type { RunName } from "../protocol.ts";

/** How the runs are drawn: colours of the style sheet, and a line form for readers who cannot distinguish the colours. */
export const runStyles: Readonly<Record<RunName, { label: string; colour: string; dash: string }>> = {
  plain: { label: "plain", colour: "var(--plain)", dash: "5 3" },
  som: { label: "SOM", colour: "var(--som)", dash: "none" },
};

/** Whether the page is dark. */
export const isDark = (): boolean => matchMedia("(prefers-color-scheme: dark)").matches;

/** Milliseconds between two redraws of a changing picture. */
export const refreshEvery = (): number =>
  matchMedia("(prefers-reduced-motion: reduce)").matches ? 2000 : 250;

/** Calls back when the page switches between dark and light. */
export function onTheme(redraw: () => void): void {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}

/** Red, green and blue, 0 … 255. */
export type Rgb = readonly [number, number, number];

/** Ends and middle of the scale for numbers around 0. */
export const divergingScale = (dark: boolean): { negative: Rgb; zero: Rgb; positive: Rgb } =>
  dark
    ? { negative: [92, 165, 255], zero: [24, 28, 34], positive: [255, 158, 84] }
    : { negative: [20, 86, 176], zero: [255, 255, 255], positive: [190, 82, 10] };

/** The colour of a number in −1 … 1; numbers outside get the colour of the nearer end. */
export function divergingColour(
  value: number,
  { negative, zero, positive }: ReturnType<typeof divergingScale>,
): Rgb {
  const share = Math.min(Math.abs(value), 1);
  const end = value < 0 ? negative : positive;
  const mix = (i: 0 | 1 | 2) => Math.round(zero[i] + share * (end[i] - zero[i]));
  return [mix(0), mix(1), mix(2)];
}
