import { byId, el, setText } from "../dom.ts";
import { plural } from "../format.ts";
import { Camera } from "./camera.ts";
import type { ImageCollection } from "./image-collection.ts";

/** Pictures of a class that are shown: the last ones. */
const shown = 6;
/** Milliseconds between two pictures while the button is held. */
const pictureEvery = 250;

/** The user's images by class, and the camera that adds more. */
export class ClassesPanel {
  readonly #collection: ImageCollection;
  readonly #changed: () => void;
  readonly #camera = new Camera();
  readonly #list = el("ul", { class: "classes", id: "class-list" });
  readonly #name = byId("new-class", HTMLInputElement);
  readonly #preview = byId("camera-preview", HTMLElement);
  readonly #message = byId("camera-message", HTMLElement);
  /** The class that is being recorded. */
  #recording: string | undefined;

  /** @param changed - called when images were added or removed */
  constructor(collection: ImageCollection, changed: () => void) {
    this.#collection = collection;
    this.#changed = changed;
    const off = el("button", { type: "button", id: "camera-off" }, "Turn the camera off");
    off.addEventListener("click", () => this.#turnOff());
    this.#preview.append(this.#camera.video, off);
    byId("class-list-place", HTMLElement).append(this.#list);
    byId("add-class", HTMLButtonElement).addEventListener("click", () => this.#addClass());
    this.#name.addEventListener("keydown", (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      this.#addClass();
    });
  }

  /** Lists the classes. */
  show(): void {
    const rows = this.#collection.classes.map((name) => this.#row(name));
    this.#list.replaceChildren(...rows);
    this.#list.hidden = rows.length === 0;
  }

  #addClass(): void {
    const name = this.#name.value.trim();
    if (this.#collection.addClass(name)) {
      this.#name.value = "";
      this.show();
    }
    this.#name.focus();
  }

  #row(name: string): HTMLElement {
    const number = el("span", { class: "note" });
    const pictures = el("span", { class: "thumbnails", "aria-hidden": "true" });
    const record = el(
      "button",
      { type: "button", "aria-label": `Hold to add pictures of ${name} from the camera` },
      "Hold: camera",
    );
    const remove = el("button", { type: "button", "aria-label": `Remove ${name}` }, "Remove");
    remove.addEventListener("click", () => {
      this.#collection.removeClass(name);
      this.show();
      this.#changed();
    });
    const update = () => {
      const images = this.#collection.imagesOf(name);
      setText(number, plural(images.length, "image"));
      void thumbnails(images.slice(-shown).map(({ content }) => content)).then((canvases) =>
        pictures.replaceChildren(...canvases),
      );
    };
    update();
    const begin = () => void this.#record(name, update);
    const end = () => {
      if (this.#recording === name) this.#recording = undefined;
    };
    record.addEventListener("pointerdown", ({ pointerId }) => {
      record.setPointerCapture(pointerId);
      begin();
    });
    for (const type of ["pointerup", "lostpointercapture", "blur", "keyup"])
      record.addEventListener(type, end);
    record.addEventListener("keydown", (event) => {
      if ((event.key !== " " && event.key !== "Enter") || event.repeat) return;
      event.preventDefault();
      begin();
    });
    // A long touch would open a menu.
    record.addEventListener("contextmenu", (event) => event.preventDefault());
    return el(
      "li",
      { "data-class": name },
      el("strong", {}, name),
      number,
      el("span", { class: "buttons" }, record, remove),
      pictures,
    );
  }

  /** Takes pictures until the button is released, at least one. */
  async #record(name: string, update: () => void): Promise<void> {
    if (this.#recording !== undefined) return;
    this.#recording = name;
    setText(this.#message, "");
    const wasOn = this.#camera.isOn;
    const missing = await this.#camera.start();
    if (missing !== undefined) {
      this.#recording = undefined;
      setText(this.#message, missing);
      return;
    }
    this.#preview.hidden = false;
    // The press that turns the camera on takes no picture once it has ended: the user has not seen yet what it shows.
    let added = 0;
    while (this.#recording === name || (wasOn && added === 0)) {
      const picture = await this.#camera.picture();
      if (picture) {
        this.#collection.addPicture(name, picture);
        added += 1;
        update();
      }
      if (this.#recording !== name) break;
      await new Promise((resolve) => setTimeout(resolve, pictureEvery));
    }
    if (added > 0) this.#changed();
  }

  #turnOff(): void {
    this.#camera.stop();
    this.#preview.hidden = true;
  }
}

/** Small pictures of images; those that cannot be decoded are left out. */
async function thumbnails(images: readonly Blob[]): Promise<HTMLCanvasElement[]> {
  const size = 40;
  const drawn = images.map(async (image) => {
    const bitmap = await createImageBitmap(image, { resizeWidth: size, resizeHeight: size });
    const canvas = el("canvas", { width: size, height: size });
    canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
    bitmap.close();
    return canvas;
  });
  const results = await Promise.allSettled(drawn);
  return results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
}
