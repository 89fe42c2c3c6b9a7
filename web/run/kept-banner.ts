import { byId, el } from "../dom.ts";
import { count } from "../format.ts";
import type { SavedRun } from "../protocol.ts";

/** Offers to continue the run that the browser kept when its tab was closed. */
export class KeptBanner {
  readonly #element = byId("kept", HTMLElement);
  readonly #resume: () => void;
  readonly #discard: () => void;

  constructor(resume: () => void, discard: () => void) {
    this.#resume = resume;
    this.#discard = discard;
  }

  show({ model, data, ownData, step, totalSteps, savedAt }: SavedRun): void {
    const button = (text: string, action: () => void, kind?: string) => {
      const element = el("button", { type: "button", class: kind }, text);
      element.addEventListener("click", () => {
        this.hide();
        action();
      });
      return element;
    };
    const when = new Date(savedAt).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
    const state = step < totalSteps ? `stopped at step ${count(step)} of ${count(totalSteps)}` : "ended";
    const again = ownData ? " Its data have to be chosen again." : "";
    this.#element.replaceChildren(
      el("p", {}, `A run is kept in this browser: ${model} on ${data}, ${state}, ${when}.${again}`),
      button(step < totalSteps ? "Go on" : "Show", this.#resume, "primary"),
      button("Discard", this.#discard),
    );
    this.#element.hidden = false;
  }

  hide(): void {
    this.#element.hidden = true;
    this.#element.replaceChildren();
  }
}
