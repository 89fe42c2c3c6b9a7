import { byId, el } from "../dom.ts";
import { count } from "../format.ts";
import type { ChosenFile, DataSource, DataSummary } from "../protocol.ts";
import { chosenFiles } from "./chosen-files.ts";
import { ClassesPanel } from "./classes-panel.ts";
import { ImageCollection } from "./image-collection.ts";

/** The panel in which the user chooses data. */
export class DataPanel {
  readonly #radios = [...document.querySelectorAll<HTMLInputElement>('input[name="data"]')];
  readonly #train = byId("train-samples", HTMLInputElement);
  readonly #test = byId("test-samples", HTMLInputElement);
  readonly #file = byId("data-file", HTMLInputElement);
  readonly #folder = byId("data-folder", HTMLInputElement);
  readonly #summary = byId("data-summary", HTMLElement);
  readonly #images = new ImageCollection();
  readonly #classes = new ClassesPanel(this.#images, () => this.#takeCollection());
  readonly #choose: (source: DataSource) => void;
  #source: DataSource | undefined;

  constructor(choose: (source: DataSource) => void) {
    this.#choose = choose;
    for (const radio of this.#radios) {
      radio.addEventListener("change", () => {
        if (radio.value === "mnist") this.takeMnist();
        else this.#showOwn();
      });
    }
    for (const input of [this.#train, this.#test]) {
      input.addEventListener("change", () => {
        if (input.checkValidity()) this.takeMnist();
        else input.reportValidity();
      });
    }
    this.#file.addEventListener("change", () => {
      const [file] = chosenFiles(this.#file);
      if (file) this.takeOwn({ kind: "npz", file });
    });
    this.#folder.addEventListener("change", () => this.takeImages(chosenFiles(this.#folder)));
  }

  /** The chosen data; undefined until the choice is complete. */
  get source(): DataSource | undefined {
    return this.#source;
  }

  takeMnist(): void {
    this.#check("mnist");
    const [train, test] = [this.#train.valueAsNumber, this.#test.valueAsNumber];
    this.#take({ kind: "mnist", train, test });
  }

  /** Takes the images of folders: several classes, or one that is added to those that are there. */
  takeImages(files: readonly ChosenFile[]): void {
    const taken = this.#images.take(files);
    this.#classes.show();
    if (taken === "replaced" || taken === "added") {
      this.#takeCollection();
      return;
    }
    const root = files[0]?.path.split("/")[0] || "the folder";
    this.#check("own");
    this.refuse(
      taken === "no images"
        ? `${root}: there is no image in it (png, jpg, webp, gif, tif, avif); put the images of each class in a folder of their own`
        : `${root}: the images are not sorted into classes; put the images of each class in a folder named after it`,
    );
  }

  /** Reads the images of all classes, as soon as there are two. */
  #takeCollection(): void {
    const { source } = this.#images;
    const filled = this.#images.classes.filter((name) => this.#images.imagesOf(name).length > 0);
    if (filled.length > 1) {
      this.takeOwn(source);
      return;
    }
    this.#showOwn();
    this.#summary.replaceChildren(
      filled.length === 0
        ? "There are no images yet: drop a folder for each class, or use the camera."
        : `Only one class so far, ${filled[0]}: drop a folder of images for another one, or use the camera.`,
    );
  }

  takeOwn(source: DataSource): void {
    this.#check("own");
    this.#take(source);
  }

  /** Shows the data that a kept run was begun with. */
  showKept(source: DataSource | undefined): void {
    if (source?.kind === "images") {
      this.#images.restore(source);
      this.#classes.show();
      this.#check("own");
      this.#source = source;
      return;
    }
    if (source?.kind !== "mnist") {
      this.#showOwn();
      return;
    }
    this.#check("mnist");
    this.#source = source;
    this.#train.valueAsNumber = source.train;
    this.#test.valueAsNumber = source.test;
  }

  show({ name, train, test, sample, classes, remarks }: DataSummary): void {
    const kinds = classes === undefined ? "targets are numbers" : `${classes} classes`;
    this.#summary.replaceChildren(
      el(
        "p",
        {},
        `${name}: ${count(train)} training and ${count(test)} test samples of shape ${sample}, ${kinds}`,
      ),
      ...remarks.map((remark) => el("p", { class: "note" }, remark)),
    );
  }

  refuse(message: string): void {
    this.#summary.replaceChildren(el("p", { class: "error" }, message));
  }

  /** Shows that the data are being read. */
  wait(): void {
    this.#summary.replaceChildren("Reading …");
  }

  /** Shows that the data will be read once there is a model for them. */
  waitForModel(): void {
    this.#summary.replaceChildren("Waits for a model that can be trained.");
  }

  #showOwn(): void {
    this.#check("own");
    this.#source = undefined;
    this.#summary.replaceChildren("Choose a file or folders, or use the camera.");
  }

  #take(source: DataSource): void {
    this.#source = source;
    this.wait();
    this.#choose(source);
  }

  #check(value: "mnist" | "own"): void {
    for (const radio of this.#radios) radio.checked = radio.value === value;
    byId("mnist-controls", HTMLElement).hidden = value !== "mnist";
    byId("own-data-controls", HTMLElement).hidden = value !== "own";
  }
}
