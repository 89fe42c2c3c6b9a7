import { DataError, messageOf } from "../errors.ts";
import { shapeText } from "../graph/shapes.ts";
import { arrayDataset } from "./array-dataset.ts";
import type { Dataset } from "./dataset.ts";
import { imageClasses, type LabelledPath } from "./image-classes.ts";
import type { Augmentation } from "./images/augment.ts";
import { augmentedDataset } from "./images/augmented.ts";
import type { SplitData } from "./split-data.ts";

/** A file of a folder that the user chose or dropped. */
export interface ImageFile {
  /** Path from the chosen folder on: `pets/cat/1.png`. */
  readonly path: string;
  readonly content: Blob;
}

/** Options of {@link loadImages}. */
export interface ImageOptions {
  /** Shape of one sample, [channels, height, width]: 1 channel (grey) or 3 (red, green, blue). */
  readonly shape: readonly number[];
  /** Source of the images, for messages; default: the folder with which all paths begin. */
  readonly name?: string;
  /** `stretch` (default): the whole image; `crop`: its largest centred part of the shape's proportions. */
  readonly resize?: "crop" | "stretch";
  /** Random changes of the training images while training, as `--augment` makes them in node. */
  readonly augment?: Augmentation;
  /** Called after each image with the number of images read so far. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Images as data, with the classes that their folders name. */
export interface LoadedImages extends SplitData {
  /** Names of the classes by label. */
  readonly classes: readonly string[];
  /** Images that the browser could not decode. */
  readonly broken: readonly string[];
}

/** Loads images as a dataset. `loadImages` of the web entry documents it. */
export async function loadImages(files: readonly ImageFile[], options: ImageOptions): Promise<LoadedImages> {
  const [channels, height, width, ...others] = options.shape;
  if ((channels !== 1 && channels !== 3) || !height || !width || others.length > 0) {
    throw new DataError(
      `images cannot become samples of shape ${shapeText(options.shape)}; the shape must be [1, height, width] or [3, height, width]`,
    );
  }
  const name = options.name ?? (files[0]?.path.split("/")[0] || "the folder");
  const contents = new Map(files.map(({ path, content }) => [path, content]));
  const sorted = imageClasses([...contents.keys()], name);
  const held = [...sorted.test, ...sorted.validation];
  const total = sorted.train.length + held.length;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new DataError("this browser offers no canvas to decode images");
  const broken: string[] = [];
  let done = 0;

  const read = async (images: readonly LabelledPath[], label: string): Promise<Dataset | undefined> => {
    const x = new Float32Array(images.length * channels * height * width);
    const y: number[] = [];
    for (const image of images) {
      const pixels = await pixelsOf(contents.get(image.path), context, options.resize).catch(() => undefined);
      options.onProgress?.(++done, total);
      if (!pixels) {
        broken.push(image.path);
        continue;
      }
      writeChannels(pixels, channels, x.subarray(y.length * channels * height * width));
      y.push(image.label);
    }
    if (y.length === 0) return undefined;
    const used = x.subarray(0, y.length * channels * height * width);
    return arrayDataset(used, Int32Array.from(y), [channels, height, width], { name: label });
  };
  const train = await read(sorted.train, name);
  const test = await read(held, `${name} (test)`);
  if (!train) {
    const why =
      broken.length > 0 ? `none of ${broken.length} images can be decoded` : "all images are test samples";
    throw new DataError(`${name}: ${why}`);
  }
  const changed = options.augment ? augmentedDataset(train, options.augment) : train;
  return { train: changed, test, classes: sorted.classes, broken };
}

/** Pixels of an image stretched to the canvas, or of its middle: red, green, blue and opacity, 0 … 255 each. */
async function pixelsOf(
  file: Blob | undefined,
  context: OffscreenCanvasRenderingContext2D,
  resize: ImageOptions["resize"] = "stretch",
): Promise<Uint8ClampedArray> {
  if (!file) throw new DataError("the file no longer exists");
  const { width, height } = context.canvas;
  const bitmap = await createImageBitmap(file);
  try {
    context.fillStyle = "black";
    context.fillRect(0, 0, width, height);
    context.imageSmoothingQuality = "high";
    const [x, y, w, h] = usedPart(bitmap, { width, height }, resize);
    context.drawImage(bitmap, x, y, w, h, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  } catch (error) {
    throw new DataError(messageOf(error));
  } finally {
    bitmap.close();
  }
}

interface Extent {
  readonly width: number;
  readonly height: number;
}

/** The part of an image that is used: left, top, width and height. */
export function usedPart(
  image: Extent,
  to: Extent,
  resize: "crop" | "stretch",
): [number, number, number, number] {
  if (resize === "stretch") return [0, 0, image.width, image.height];
  const scale = Math.min(image.width / to.width, image.height / to.height);
  const [width, height] = [to.width * scale, to.height * scale];
  return [(image.width - width) / 2, (image.height - height) / 2, width, height];
}

/** Writes pixels channel by channel, as numbers in 0 … 1. */
export function writeChannels(pixels: Uint8ClampedArray, channels: number, target: Float32Array): void {
  const count = pixels.length / 4;
  for (let i = 0; i < count; i++) {
    const [red, green, blue] = [pixels[4 * i] ?? 0, pixels[4 * i + 1] ?? 0, pixels[4 * i + 2] ?? 0];
    if (channels === 1) {
      target[i] = (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
    } else {
      target[i] = red / 255;
      target[count + i] = green / 255;
      target[2 * count + i] = blue / 255;
    }
  }
}
