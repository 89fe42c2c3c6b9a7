import { el } from "../dom.ts";

export interface SliderOptions {
  readonly id: string;
  /** Label of both controls. */
  readonly label: string;
  /** Its effect, in a few words. */
  readonly hint: string;
  readonly value: number;
  /** The slider's range above 0, as powers of ten; its left end is 0 if 0 is allowed. */
  readonly powers: readonly [number, number];
  readonly allowZero: boolean;
}

/** Number of positions of a slider. */
const positions = 100;

/** The number at a slider's position: logarithmic, two significant digits. */
export function numberAt(position: number, { powers: [low, high], allowZero }: SliderOptions): number {
  if (allowZero && position === 0) return 0;
  return Number((10 ** (low + ((high - low) * position) / positions)).toPrecision(2));
}

/** The position nearest to a number. */
export function positionOf(value: number, { powers: [low, high], allowZero }: SliderOptions): number {
  if (!(value > 0)) return 0;
  const position = Math.round(((Math.log10(value) - low) / (high - low)) * positions);
  return Math.min(Math.max(position, allowZero ? 1 : 0), positions);
}

/** A number that the user types, or sets with a slider on a logarithmic scale. */
export class Slider {
  readonly element: HTMLElement;
  readonly #options: SliderOptions;
  readonly #number: HTMLInputElement;
  readonly #range: HTMLInputElement;

  constructor(options: SliderOptions) {
    this.#options = options;
    const { id, label, hint, allowZero, value } = options;
    this.#number = el("input", {
      ...{ id, type: "number", step: "any", required: true, value, "aria-describedby": `${id}-hint` },
      min: allowZero ? 0 : 1e-9,
    });
    this.#range = el("input", { type: "range", min: 0, max: positions, "aria-label": `${label}, slider` });
    this.#follow();
    this.#number.addEventListener("input", () => this.#follow());
    this.#range.addEventListener("input", () => {
      this.#number.value = String(numberAt(Number(this.#range.value), options));
      this.#follow();
    });
    this.element = el(
      "div",
      { class: "slider" },
      el("label", { class: "field", for: id }, label),
      this.#number,
      this.#range,
      el("p", { class: "hint", id: `${id}-hint` }, hint),
    );
  }

  get value(): number {
    return this.#number.valueAsNumber;
  }

  set value(value: number) {
    this.#number.value = String(value);
    this.#follow();
  }

  set disabled(disabled: boolean) {
    this.#number.disabled = disabled;
    this.#range.disabled = disabled;
  }

  /** Moves the slider to the number. */
  #follow(): void {
    const position = positionOf(this.value, this.#options);
    if (Number(this.#range.value) !== position) this.#range.value = String(position);
    this.#range.setAttribute("aria-valuetext", this.#number.value);
  }
}
