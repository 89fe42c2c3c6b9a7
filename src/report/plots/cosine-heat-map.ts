import type { CosineMap } from "../../measure/cosine-map.ts";

/** Shades on each side of 0. */
const shades = 10;
/** Side of the whole picture in pixels. */
const extent = 240;
const namespace = "http://www.w3.org/2000/svg";

/** The limit of the colour scale for these maps: from 0.05 to 1. */
export function heatScale(maps: readonly CosineMap[]): number {
  let largest = 0;
  for (const { cells } of maps) for (const cell of cells) largest = Math.max(largest, Math.abs(cell ?? 0));
  return [0.05, 0.1, 0.2, 0.3, 0.5, 0.75].find((end) => largest <= end) ?? 1;
}

/**
 * Cosines between units as a picture with one path per shade. Negative cosines have the classes `n1` … `n10`, positive ones
 * `p1` … `p10`; the page's style sheet gives them colours.
 * @param scale - the cosine with the strongest shade
 */
export function cosineHeatMap(
  document: Document,
  { size, cells }: CosineMap,
  { label, scale }: { readonly label: string; readonly scale: number },
): SVGSVGElement {
  const paths = new Map<string, string[]>();
  for (let row = 0; row < size; row++) {
    // Neighbouring cells of one shade become one rectangle.
    for (let column = 0; column < size; ) {
      const shade = shadeOf(cells[row * size + column], scale);
      const first = column++;
      while (column < size && shadeOf(cells[row * size + column], scale) === shade) column++;
      if (shade === "") continue;
      const path = paths.get(shade) ?? [];
      path.push(`M${first},${row}h${column - first}v1h${first - column}z`);
      paths.set(shade, path);
    }
  }
  const svg = element(document, "svg", {
    ...{ class: "heat", role: "img", "aria-label": label, "shape-rendering": "crispEdges" },
    ...{ viewBox: `0 0 ${size} ${size}`, width: `${extent}`, height: `${extent}` },
  });
  svg.append(element(document, "rect", { class: "paper", width: `${size}`, height: `${size}` }));
  for (const [shade, path] of paths)
    svg.append(element(document, "path", { class: shade, d: path.join("") }));
  return svg as SVGSVGElement;
}

/** The scale of colours, from −scale to scale. */
export function heatLegend(document: Document, scale: number): SVGSVGElement {
  const width = 2 * shades;
  const svg = element(document, "svg", {
    ...{ class: "heat-legend", role: "img", "aria-label": `Colours from −${scale} over 0 to ${scale}` },
    ...{ viewBox: "0 0 240 26", width: "240", height: "26", "font-size": "11", fill: "currentColor" },
  });
  for (let step = 0; step < width; step++) {
    const level = step < shades ? step - shades : step - shades + 1;
    svg.append(
      element(document, "rect", {
        ...{ x: `${(240 / width) * step}`, width: `${240 / width}`, height: "10" },
        class: level < 0 ? `n${-level}` : `p${level}`,
      }),
    );
  }
  for (const [x, anchor, text] of [
    [0, "start", `−${scale}`],
    [120, "middle", "0"],
    [240, "end", `${scale}`],
  ] as const) {
    const tick = element(document, "text", { x: `${x}`, y: "23", "text-anchor": anchor });
    tick.append(text);
    svg.append(tick);
  }
  return svg as SVGSVGElement;
}

/** The class of a cell; undefined if it has the colour of the paper. */
function shadeOf(cosine: number | null | undefined, scale: number): string {
  if (cosine == null) return "none";
  const level = Math.min(Math.round((shades * Math.abs(cosine)) / scale), shades);
  if (level === 0) return "";
  return cosine < 0 ? `n${level}` : `p${level}`;
}

function element(document: Document, name: string, attributes: Readonly<Record<string, string>>): Element {
  const made = document.createElementNS(namespace, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
