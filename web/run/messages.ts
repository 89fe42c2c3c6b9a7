import { byId, el, setText } from "../dom.ts";

/** Most remarks in the list. */
const most = 30;

/** Messages of the page: an alert, a list of remarks, and texts that only screen readers read aloud. */
export class Messages {
  readonly #alert = byId("alert", HTMLElement);
  readonly #section = byId("messages", HTMLElement);
  readonly #list = this.#section.querySelector("ul") ?? el("ul");
  readonly #spoken = el("p", { class: "visually-hidden", role: "status", id: "spoken" });
  #spokenAt = 0;

  constructor() {
    this.#list.setAttribute("tabindex", "0");
    this.#list.setAttribute("aria-labelledby", "messages-title");
    byId("run", HTMLElement).append(this.#spoken);
    this.#section.hidden = true;
  }

  /** Shows an error with what to do. */
  alert(message: string): void {
    setText(this.#alert, message);
  }

  /** Removes alerts and remarks. */
  clear(): void {
    setText(this.#alert, "");
    this.#list.replaceChildren();
    this.#section.hidden = true;
  }

  /** Adds a remark. */
  note(message: string): void {
    this.#section.hidden = false;
    this.#list.prepend(el("li", {}, message));
    while (this.#list.children.length > most) this.#list.lastElementChild?.remove();
  }

  /** Announces a run's progress, at most every ten seconds; `important` texts always. */
  speak(message: string, important: boolean): void {
    const now = performance.now();
    if (!important && now - this.#spokenAt < 10_000) return;
    this.#spokenAt = now;
    setText(this.#spoken, message);
  }
}
