import { angleHistogram } from "../charts/histogram.ts";
import { refreshEvery, runStyles } from "../charts/theme.ts";
import { byId, el } from "../dom.ts";
import { count, degrees } from "../format.ts";
import {
  type AngleFigures,
  type LayerAngles,
  type Measurement,
  type RunName,
  runNames,
} from "../protocol.ts";

/** Number of layers shown until the user asks for all. */
const shown = 12;
const kinds = ["weight", "response"] as const;

/** The angles of every layer: histograms with their figures. */
export class LayersTable {
  readonly #body = el("tbody");
  readonly #more = el("button", { type: "button", hidden: true });
  readonly #measured: Partial<Record<RunName, readonly LayerAngles[]>> = {};
  #all = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor() {
    const titles = ["Layer", "Weight angles", "Response angles"];
    const head = el("thead", {}, el("tr", {}, ...titles.map((title) => el("th", { scope: "col" }, title))));
    this.#more.addEventListener("click", () => {
      this.#all = true;
      this.#draw();
    });
    byId("layers", HTMLElement).append(el("table", { class: "layers" }, head, this.#body), this.#more);
    new ResizeObserver(() => this.#soon()).observe(this.#body);
  }

  show({ run, layers }: Measurement): void {
    this.#measured[run] = layers;
    this.#soon();
  }

  clear(): void {
    for (const run of runNames) delete this.#measured[run];
    this.#all = false;
    this.#draw();
  }

  #soon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#draw();
    }, refreshEvery());
  }

  #draw(): void {
    const layers = this.#measured.plain ?? this.#measured.som ?? [];
    const visible = this.#all ? layers : layers.slice(0, shown);
    this.#more.hidden = visible.length === layers.length;
    this.#more.textContent = `Show all ${layers.length} layers`;
    if (layers.length === 0) {
      const text = "They are measured as soon as a run begins.";
      this.#body.replaceChildren(el("tr", {}, el("td", { colspan: 3, class: "empty" }, text)));
      return;
    }
    const { clientWidth } = this.#body;
    const stacked = matchMedia("(max-width: 40rem)").matches;
    const width = stacked ? clientWidth : Math.max(160, Math.min(380, Math.floor((clientWidth - 150) / 2)));
    this.#body.replaceChildren(...visible.map((layer) => this.#row(layer, width)));
  }

  #row({ name, op, units, fanIn }: LayerAngles, width: number): HTMLElement {
    const cells = kinds.map((kind) => {
      const figures = runNames.map((run) => ({
        run,
        angles: this.#measured[run]?.find((layer) => layer.name === name)?.[kind],
      }));
      if (figures.every(({ angles }) => !angles)) return el("td", { "data-kind": kind }, "none");
      const histograms = Object.fromEntries(figures.map(({ run, angles }) => [run, angles?.histogram]));
      return el(
        "td",
        { "data-kind": kind },
        angleHistogram(histograms, width),
        ...figures.flatMap(({ run, angles }) => (angles ? [line(run, angles)] : [])),
      );
    });
    const shape = el("span", { class: "note" }, `${op}, ${count(units)} units of ${count(fanIn)}`);
    return el("tr", { "data-layer": name }, el("th", { scope: "row" }, name, shape), ...cells);
  }
}

/** plain 89.9° ± 3.2° */
function line(run: RunName, { mean, spread, dead }: AngleFigures): HTMLElement {
  const silent = dead > 0 ? `, ${dead} dead` : "";
  return el(
    "p",
    { class: "angles" },
    el("span", { class: run }, runStyles[run].label),
    ` ${degrees(mean)} ± ${degrees(spread)}${silent}`,
  );
}
