import { placedImages } from "../../src/data/image-classes.ts";
import type { ChosenFile, ClassImage, DataSource } from "../protocol.ts";

/** What became of folders that were chosen or dropped. */
export type Taken = "replaced" | "added" | "no images" | "no classes";

/** The user's images by class: from folders, and from the camera. */
export class ImageCollection {
  #images: ClassImage[] = [];
  /** Classes that the user named and that may have no images yet. */
  readonly #named = new Set<string>();
  #pictures = 0;

  /**
   * Takes the images of folders. A folder for one class is added to the classes that are there; folders for several classes
   * replace them.
   */
  take(files: readonly ChosenFile[]): Taken {
    const contents = new Map(files.map(({ path, content }) => [path, content]));
    const placed = placedImages([...contents.keys()]);
    const images = placed.flatMap(({ path, class: name, part }): ClassImage[] => {
      const content = contents.get(path);
      return name === undefined || !content ? [] : [{ path, content, class: name, held: part !== "train" }];
    });
    if (placed.length === 0) return "no images";
    if (images.length === 0) return "no classes";
    const classes = new Set(images.map((image) => image.class));
    if (classes.size > 1) {
      this.#images = images;
      this.#named.clear();
      return "replaced";
    }
    const taken = new Set(images.map(({ path }) => path));
    this.#images = [...this.#images.filter(({ path }) => !taken.has(path)), ...images];
    return "added";
  }

  /** Takes over the images of a kept run. */
  restore({ images }: Extract<DataSource, { kind: "images" }>): void {
    this.#images = [...images];
    this.#named.clear();
    this.#pictures = images.length;
  }

  /** Adds a class that has no images yet. @returns whether it is new */
  addClass(name: string): boolean {
    if (name === "" || this.classes.includes(name)) return false;
    this.#named.add(name);
    return true;
  }

  /** Adds a picture of the camera. */
  addPicture(name: string, content: Blob): void {
    this.#named.add(name);
    this.#pictures += 1;
    this.#images.push({ path: `${name}/camera ${this.#pictures}.jpg`, content, class: name, held: false });
  }

  removeClass(name: string): void {
    this.#named.delete(name);
    this.#images = this.#images.filter((image) => image.class !== name);
  }

  /** Names of the classes, sorted: their places are their labels. */
  get classes(): string[] {
    return [...new Set([...this.#named, ...this.#images.map((image) => image.class)])].sort();
  }

  imagesOf(name: string): readonly ClassImage[] {
    return this.#images.filter((image) => image.class === name);
  }

  get source(): Extract<DataSource, { kind: "images" }> {
    // The folder that holds all images, if there is one.
    const [root] = this.#images[0]?.path.split("/") ?? [];
    const isShared = this.#images.every(({ path }) => path.startsWith(`${root}/`));
    return { kind: "images", name: isShared && root ? root : "images", images: this.#images };
  }
}
