import * as Plot from "@observablehq/plot";

/** Width of a chart in pixels: that of a phone, so that its text stays readable there. */
const chartWidth = 340;
const chartHeight = 210;

/** Options of a chart: those of Observable Plot, and a description. */
export interface ChartOptions extends Plot.PlotOptions {
  /** Description for people who do not see the chart; "" if the text beside it says everything. */
  readonly label: string;
}

/** Colour of the n-th series: a variable of the page's style sheet, which differs by day and by night. */
export const seriesColor = (index: number): string => `var(--series-${(index % 6) + 1})`;

/**
 * Draws a chart with Observable Plot. The chart has no style of its own, so a page with a strict content security policy can
 * show it: the page's style sheet has the rules (`pages/style.ts`, `web/styles/charts.css`).
 * @param document - the document of a browser, or any other that can make SVG elements
 */
export function chart(
  document: Document,
  { label, className = "chart", ...options }: ChartOptions,
): SVGSVGElement {
  const drawn = Plot.plot({
    ...{
      document,
      width: chartWidth,
      height: chartHeight,
      marginLeft: 46,
      marginBottom: 34,
      marginRight: 12,
    },
    ...options,
    style: {},
  }) as SVGSVGElement;
  for (const style of [...drawn.querySelectorAll("style")]) style.remove();
  // The picture as a whole has one name; the groups inside it have no role that a name could belong to.
  for (const group of [...drawn.querySelectorAll("[aria-label]")]) group.removeAttribute("aria-label");
  drawn.removeAttribute("style");
  drawn.setAttribute("class", className);
  drawn.setAttribute("font-size", "11");
  if (label === "") drawn.setAttribute("aria-hidden", "true");
  else {
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", label);
  }
  return drawn;
}

/** Degrees on an axis: `90°`. */
export const degreeTicks = (angle: number): string => `${+angle.toFixed(2)}°`;
