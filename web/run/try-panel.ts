import { runStyles } from "../charts/theme.ts";
import { byId, el, setText } from "../dom.ts";
import { count, loss, percent } from "../format.ts";
import type { Answer, ChosenFile, RunName } from "../protocol.ts";
import { Camera } from "../setup/camera.ts";

/** Milliseconds between an answer and the next picture of the camera. */
const pictureEvery = 200;
/** Longest side of the shown image, in pixels. */
const side = 256;

/** Asks a trained model about images: from a file, dropped, or from the camera. */
export class TryPanel {
  readonly #section = byId("try", HTMLElement);
  readonly #file = byId("try-file", HTMLInputElement);
  readonly #run = byId("try-run", HTMLSelectElement);
  readonly #button = byId("try-camera", HTMLButtonElement);
  readonly #message = byId("try-message", HTMLElement);
  readonly #picture = byId("try-picture", HTMLElement);
  readonly #scores = byId("try-scores", HTMLElement);
  readonly #camera = new Camera();
  readonly #ask: (run: RunName, image: Blob) => void;
  #image: Blob | undefined;
  #next: ReturnType<typeof setTimeout> | undefined;

  /** @param ask - sends an image to the model of a run; the answer comes to {@link show} */
  constructor(ask: (run: RunName, image: Blob) => void) {
    this.#ask = ask;
    this.#file.addEventListener("change", () => {
      const [image] = this.#file.files ?? [];
      if (image) void this.#take(image);
    });
    this.#run.addEventListener("change", () => this.#askAgain());
    this.#button.addEventListener("click", () => void (this.#camera.isOn ? this.#stop() : this.#start()));
  }

  /** Shows the panel while there is a trained model. */
  offer(available: boolean, runs: readonly RunName[]): void {
    if (!available && !this.#section.hidden) this.#clear();
    this.#section.hidden = !available;
    const names = [...this.#run.options].map(({ value }) => value);
    if (names.join() !== runs.join()) {
      this.#run.replaceChildren(...runs.map((run) => el("option", { value: run }, runStyles[run].label)));
    }
    byId("try-run-field", HTMLElement).hidden = runs.length < 2;
  }

  /** Takes an image that was dropped on the panel. @returns whether it did */
  takeDrop(files: readonly ChosenFile[], target: EventTarget | null): boolean {
    const isHere = !this.#section.hidden && target instanceof Node && this.#section.contains(target);
    const [file, ...others] = files;
    if (!isHere || !file || others.length > 0) return false;
    void this.#take(file.content);
    return true;
  }

  /** Shows an answer, or why there is none. */
  show(answer: Answer | string): void {
    if (this.#section.hidden) return;
    if (typeof answer === "string") {
      this.#scores.replaceChildren();
      setText(this.#message, answer);
    } else this.#showScores(answer);
    if (this.#camera.isOn) this.#next = setTimeout(() => void this.#askCamera(), pictureEvery);
  }

  #showScores({ run, step, scores, areShares }: Answer): void {
    const [best] = scores;
    // The camera's answers change several times a second: too often to be read aloud.
    if (!this.#camera.isOn && best) {
      setText(
        this.#message,
        `${best.name}, says the ${runStyles[run].label} model after step ${count(step)}.`,
      );
    }
    const text = (score: number) => (areShares ? percent(score, 1000) : loss(score));
    this.#scores.replaceChildren(
      ...scores.map(({ name, score }) =>
        el(
          "li",
          { "data-name": name, "data-score": score },
          el("span", {}, name),
          areShares ? el("meter", { min: 0, max: 1, value: score, "aria-label": name }) : el("span"),
          el("span", {}, text(score)),
        ),
      ),
    );
  }

  async #take(image: Blob): Promise<void> {
    this.#stop();
    setText(this.#message, "");
    this.#scores.replaceChildren();
    this.#image = image;
    try {
      const bitmap = await createImageBitmap(image);
      const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
      const [width, height] = [bitmap.width, bitmap.height].map((length) => Math.max(1, length * scale));
      const canvas = el("canvas", { width, height, role: "img", "aria-label": "The image" });
      canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      bitmap.close();
      this.#picture.replaceChildren(canvas);
    } catch {
      this.#image = undefined;
      this.#picture.replaceChildren();
      setText(this.#message, "The browser cannot decode this file as an image.");
      return;
    }
    this.#askAgain();
  }

  #askAgain(): void {
    if (this.#image) this.#ask(this.#chosen, this.#image);
  }

  get #chosen(): RunName {
    return this.#run.value === "som" ? "som" : "plain";
  }

  async #start(): Promise<void> {
    const missing = await this.#camera.start();
    setText(this.#message, missing ?? "");
    if (missing !== undefined) return;
    this.#image = undefined;
    this.#file.value = "";
    this.#picture.replaceChildren(this.#camera.video);
    setText(this.#button, "Turn the camera off");
    await this.#askCamera();
  }

  async #askCamera(): Promise<void> {
    if (!this.#camera.isOn) return;
    const picture = await this.#camera.picture();
    if (picture) this.#ask(this.#chosen, picture);
    else this.#next = setTimeout(() => void this.#askCamera(), pictureEvery);
  }

  #stop(): void {
    clearTimeout(this.#next);
    if (!this.#camera.isOn) return;
    this.#camera.stop();
    setText(this.#button, "Use the camera");
    this.#picture.replaceChildren();
    this.#scores.replaceChildren();
  }

  #clear(): void {
    this.#stop();
    this.#image = undefined;
    this.#file.value = "";
    this.#picture.replaceChildren();
    this.#scores.replaceChildren();
    setText(this.#message, "");
  }
}
