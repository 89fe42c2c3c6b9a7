import { byId, setText } from "../dom.ts";
import { count } from "../format.ts";
import type { Phase, Progress } from "../protocol.ts";

export interface ControlActions {
  readonly train: () => void;
  readonly pause: () => void;
  readonly resume: () => void;
  readonly reset: () => void;
}

/** The buttons of a run, and its progress. */
export class Controls {
  readonly #train = byId("train", HTMLButtonElement);
  readonly #pause = byId("pause", HTMLButtonElement);
  readonly #reset = byId("reset", HTMLButtonElement);
  readonly #status = byId("status", HTMLElement);
  readonly #progress = byId("progress", HTMLProgressElement);
  #phase: Phase = "idle";

  constructor({ train, pause, resume, reset }: ControlActions) {
    this.#train.addEventListener("click", train);
    this.#pause.addEventListener("click", () => (this.#phase === "paused" ? resume() : pause()));
    this.#reset.addEventListener("click", reset);
  }

  /** @param startable - whether a model and data are ready, or being read: training then begins after reading */
  show(phase: Phase, startable: boolean): void {
    this.#phase = phase;
    const under = phase === "running" || phase === "paused";
    const buttons = [this.#train, this.#pause, this.#reset];
    const run = byId("run", HTMLElement);
    const focused = [...buttons, run].some((element) => element === document.activeElement);
    this.#train.disabled = !startable || phase === "starting" || under;
    this.#pause.disabled = !under;
    this.#reset.disabled = !under && phase !== "finished" && phase !== "failed";
    setText(this.#pause, phase === "paused" ? "Resume" : "Pause");
    // A disabled button loses the focus. The focus moves to the next usable button, so that keyboard users find it.
    const active = buttons.some((button) => button === document.activeElement && !button.disabled);
    if (focused && !active) ([this.#pause, this.#train].find((button) => !button.disabled) ?? run).focus();
    for (const id of ["model", "data", "fine-tuning", "penalty", "training"]) {
      byId(`${id}-controls`, HTMLFieldSetElement).disabled = phase === "starting" || under;
    }
  }

  status(text: string): void {
    setText(this.#status, text);
  }

  progress(progress: Progress | undefined): void {
    const done = progress ? Math.min(...Object.values(progress.steps)) : 0;
    this.#progress.max = progress?.totalSteps || 1;
    this.#progress.value = done;
    this.#progress.textContent = progress ? `${count(done)} of ${count(progress.totalSteps)} steps` : "";
  }
}
