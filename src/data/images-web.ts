import { DataError, UsageError } from "../errors.ts";
import { shapeText } from "../graph/shapes.ts";
import type { Dataset } from "./dataset.ts";
import { imageClasses } from "./image-classes.ts";
import type { Augmentation } from "./images/augment.ts";
import { augmentedDataset } from "./images/augmented.ts";
import { browserImages, ImageDecoder } from "./images/browser-images.ts";
import type { SplitData } from "./split-data.ts";

/** A file of a folder that the user chose or dropped. */
export interface ImageFile {
  /** Path from the chosen folder on: `pets/cat/1.png`. */
  readonly path: string;
  readonly content: Blob;
}

/** An image with the class that it shows. */
interface LabelledImage extends ImageFile {
  /** Index of its class. */
  readonly label: number;
}

/** Images of known classes. */
interface ClassImages {
  /** Source of the images, for messages. */
  readonly name: string;
  /** Names of the classes by label. */
  readonly classes: readonly string[];
  readonly train: readonly LabelledImage[];
  readonly test: readonly LabelledImage[];
}

/** Options of {@link loadImages}. */
export interface ImageOptions {
  /** Shape of one sample, [channels, height, width] or [height, width, channels]: 1 channel (grey) or 3 (red, green, blue). */
  readonly shape: readonly number[];
  /** Source of the images, for messages; default: the folder with which all paths begin. */
  readonly name?: string;
  /** `stretch` (default): the whole image; `crop`: its largest centred part of the shape's proportions. */
  readonly resize?: "crop" | "stretch";
  /** Random changes of the training images while training, as `--augment` makes them in node. */
  readonly augment?: Augmentation;
  /**
   * Bytes of decoded images that are held in memory once they were read, one per pixel and channel; default 256 MiB. Images
   * beyond that are decoded again whenever they are read.
   */
  readonly memory?: number;
  /** Called with the number of files looked at so far. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Images as data, with the classes that their folders name. */
export interface LoadedImages extends SplitData {
  /** Names of the classes by label. */
  readonly classes: readonly string[];
  /** Files that are no images, as their first bytes show, and images of rare formats that the browser could not decode. */
  readonly broken: readonly string[];
}

/** Loads images as a dataset. `loadImages` of the web entry documents it. */
export async function loadImages(files: readonly ImageFile[], options: ImageOptions): Promise<LoadedImages> {
  const isImage = (file: ImageFile | null) => typeof file?.path === "string" && file.content instanceof Blob;
  if (!Array.isArray(files) || !files.every(isImage)) {
    throw new UsageError(
      "images are { path, content }: [...input.files].map((content) => ({ path: content.webkitRelativePath, content }))",
    );
  }
  if (!options?.shape)
    throw new UsageError("images need the shape of a sample, as in { shape: [3, 224, 224] }");
  const name = options.name ?? (files[0]?.path.split("/")[0] || "the folder");
  const contents = new Map(files.map((file) => [file.path, file]));
  const { classes, train, validation, test } = imageClasses([...contents.keys()], name);
  const filesOf = (images: typeof train): LabelledImage[] =>
    images.flatMap(({ path, label }) => {
      const file = contents.get(path);
      return file ? [{ ...file, label }] : [];
    });
  const held = filesOf([...test, ...validation]);
  return loadClassImages({ name, classes, train: filesOf(train), test: held }, options);
}

/** Files whose first bytes are looked at together. */
const checkedAtOnce = 64;

/**
 * Images of known classes, which are decoded when they are read. Only the first bytes of their files are read here.
 * @throws SorthError when none of the training images is one, and for a shape that is not that of an image
 */
export async function loadClassImages(images: ClassImages, options: ImageOptions): Promise<LoadedImages> {
  const { name, classes } = images;
  const { shape, resize: fit = "stretch", augment, memory = 256 * 2 ** 20, onProgress } = options;
  const isColour = (dim: number | undefined) => dim === 1 || dim === 3;
  if (shape.length !== 3 || !shape.every((dim) => dim > 0) || !(isColour(shape[0]) || isColour(shape[2]))) {
    throw new DataError(
      `images cannot become samples of shape ${shapeText(shape)}; the shape must be [1 or 3, height, width] or [height, width, 1 or 3]`,
    );
  }
  if (!(memory >= 0)) throw new UsageError(`the memory for images is ${memory}, not a number of bytes`);
  const conversion = { shape, channelsLast: !isColour(shape[0]), fit };
  const decoder = new ImageDecoder(conversion);
  const total = images.train.length + images.test.length;
  const broken: string[] = [];
  let done = 0;
  const read = async (part: readonly LabelledImage[], title: string): Promise<Dataset | undefined> => {
    const good: LabelledImage[] = [];
    for (let first = 0; first < part.length; first += checkedAtOnce) {
      const some = part.slice(first, first + checkedAtOnce);
      const canDecode = await Promise.all(some.map(({ content }) => decoder.canDecode(content)));
      for (const [i, image] of some.entries()) {
        if (canDecode[i]) good.push(image);
        else broken.push(image.path);
      }
      done += some.length;
      onProgress?.(done, total);
    }
    const source = { name: title, conversion, decoder, memory: (memory * part.length) / Math.max(1, total) };
    return good.length === 0 ? undefined : browserImages(good, source, classes.length);
  };
  const train = await read(images.train, name);
  const test = await read(images.test, `${name} (test)`);
  if (!train) {
    const why =
      broken.length > 0 ? `none of ${broken.length} images can be decoded` : "all images are test samples";
    throw new DataError(`${name}: ${why}`);
  }
  return { train: augment ? augmentedDataset(train, augment) : train, test, classes, broken };
}
