import { CanvasPicture } from "../charts/canvas-picture.ts";
import { cosinePixels, filterPixels } from "../charts/pixels.ts";
import { divergingScale, isDark, onTheme, runStyles } from "../charts/theme.ts";
import { byId, el } from "../dom.ts";
import {
  type CosineMatrix,
  type FilterPictures,
  type LayerSummary,
  type Measurement,
  type PerRun,
  type RunName,
  runNames,
} from "../protocol.ts";

/** How similar the responses of a layer's units are, and the first layer's weights as pictures. */
export class Pictures {
  readonly #select = el("select", { id: "layer" });
  readonly #cosines: PerRun<CanvasPicture>;
  readonly #filters: PerRun<CanvasPicture>;
  readonly #filterNote = el("p", { class: "note" });
  readonly #last: Partial<Record<RunName, Measurement>> = {};

  /** @param choose - called with the layer to show */
  constructor(choose: (layer: string) => void) {
    const pictures = (what: string): PerRun<CanvasPicture> => ({
      plain: new CanvasPicture(`${what}, ${runStyles.plain.label}`, "plain"),
      som: new CanvasPicture(`${what}, ${runStyles.som.label}`, "som"),
    });
    this.#cosines = pictures("Cosines");
    this.#filters = pictures("Filters");
    const pair = ({ plain, som }: PerRun<CanvasPicture>) =>
      el("div", { class: "canvases" }, plain.element, som.element);
    byId("pictures", HTMLElement).append(
      el("h3", {}, "Which units respond alike"),
      el("p", { class: "field-row" }, el("label", { for: "layer" }, "Layer"), this.#select),
      el(
        "p",
        { class: "note" },
        "Cosine ϑ of the responses of every two units: ",
        el("span", { class: "key negative" }, "−1"),
        el("span", { class: "key zero" }, "0"),
        el("span", { class: "key positive" }, "1"),
        ". Orthogonal units leave only the diagonal.",
      ),
      pair(this.#cosines),
      el("h3", {}, "What the first layer looks for"),
      this.#filterNote,
      pair(this.#filters),
    );
    this.#select.addEventListener("change", () => choose(this.#select.value));
    onTheme(() => {
      for (const measurement of Object.values(this.#last)) this.show(measurement);
    });
    this.clear();
  }

  /** Lists the layers of a model. */
  offer(layers: readonly LayerSummary[]): void {
    const names = layers.filter(({ units }) => units > 0).map(({ name }) => name);
    this.#select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
  }

  show(measurement: Measurement): void {
    const { run, cosines, filters } = measurement;
    this.#last[run] = measurement;
    const scale = divergingScale(isDark());
    if (cosines && cosines.layer === this.#select.value) {
      this.#cosines[run].show(cosinePixels(cosines, scale), cosineText(cosines));
    }
    if (filters) this.#filters[run].show(filterPixels(filters, scale), filterText(filters));
    for (const name of runNames) this.#filters[name].element.hidden = filters === undefined;
    this.#filterNote.textContent = filters
      ? `The weights of ${filters.layer}, each unit relative to its own largest one.`
      : "Its weights cannot be shown as pictures: it is neither a convolution of images nor a layer that reads an image.";
  }

  clear(): void {
    for (const run of runNames) delete this.#last[run];
    const blank = { width: 1, height: 1, data: new Uint8ClampedArray(4) };
    for (const run of runNames) {
      this.#cosines[run].show(blank, "Nothing yet.");
      this.#filters[run].show(blank, "Nothing yet.");
      this.#filters[run].element.hidden = false;
    }
    this.#filterNote.textContent = "";
  }
}

/** A description of a heat map. */
export function cosineText({ size, units, values }: CosineMatrix): string {
  let [sum, most, pairs] = [0, 0, 0];
  let furthest: readonly [number, number] = [0, 0];
  for (let i = 0; i < size; i++) {
    for (let j = i + 1; j < size; j++) {
      const cosine = Math.abs(values[i * size + j] ?? 0);
      sum += cosine;
      pairs++;
      if (cosine > most) [most, furthest] = [cosine, [i, j]];
    }
  }
  const part = size < units ? `first ${size} of ${units} units: ` : "";
  if (pairs === 0) return `${part}one unit`;
  return `${part}mean |ϑ| ${(sum / pairs).toFixed(3)}; largest ${most.toFixed(2)}, units ${furthest[0]} and ${furthest[1]}`;
}

const filterText = ({ units, channels, height, width }: FilterPictures): string =>
  `${units} units, ${height} × ${width}${channels === 3 ? ", in colour" : ""}`;
