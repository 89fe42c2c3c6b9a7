import { el, setText } from "../dom.ts";
import type { Pixels } from "./pixels.ts";

/** A picture of pixels, enlarged by the browser without blurring, with a heading and a description. */
export class CanvasPicture {
  readonly element: HTMLElement;
  readonly #canvas: HTMLCanvasElement;
  readonly #text = el("p", { class: "note" });

  constructor(title: string, kind: string) {
    this.#canvas = el("canvas", { width: 1, height: 1, role: "img", "aria-label": title });
    this.element = el(
      "figure",
      { class: "canvas", "data-run": kind },
      el("figcaption", { class: kind }, title),
      this.#canvas,
      this.#text,
    );
  }

  show(pixels: Pixels, text: string): void {
    this.#canvas.width = pixels.width;
    this.#canvas.height = pixels.height;
    setText(this.#text, text);
    this.#canvas
      .getContext("2d")
      ?.putImageData(new ImageData(pixels.data, pixels.width, pixels.height), 0, 0);
  }
}
