import * as Plot from "@observablehq/plot";

/**
 * A plot as the page's security policy allows it: without Plot's own style element, whose rules are in styles/charts.css.
 * @param label - what a screen reader says of it; "" where the text beside it says it all
 */
export function plot(options: Plot.PlotOptions, label: string): Element {
  const svg = Plot.plot({ ...options, className: "plot" });
  for (const style of svg.querySelectorAll("style")) style.remove();
  for (const part of svg.querySelectorAll("[aria-label]")) part.removeAttribute("aria-label");
  if (label === "") svg.setAttribute("aria-hidden", "true");
  else {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  }
  return svg;
}
