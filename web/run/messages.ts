import { byId, el, setText } from "../dom.ts";

/** Remarks that are kept. */
const most = 30;

/** What the page says: an alert, a list of remarks, and what only a screen reader hears. */
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

  /** Something went wrong, and what to do. */
  alert(message: string): void {
    setText(this.#alert, message);
  }

  /** Takes alerts and remarks away. */
  clear(): void {
    setText(this.#alert, "");
    this.#list.replaceChildren();
    this.#section.hidden = true;
  }

  /** A remark. */
  note(message: string): void {
    this.#section.hidden = false;
    this.#list.prepend(el("li", {}, message));
    while (this.#list.children.length > most) this.#list.lastElementChild?.remove();
  }

  /** Says how far a run is; at most every ten seconds, but for what is `important`. */
  speak(message: string, important: boolean): void {
    const now = performance.now();
    if (!important && now - this.#spokenAt < 10_000) return;
    this.#spokenAt = now;
    setText(this.#spoken, message);
  }
}
