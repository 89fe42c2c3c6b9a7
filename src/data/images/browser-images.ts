import { DataError } from "../../errors.ts";
import { arrayColumn } from "../array-dataset.ts";
import type { ImageConversion } from "../conversion.ts";
import { type BatchArray, type Column, type Dataset, datasetOfColumns, type Filled } from "../dataset.ts";
import { writePixels } from "./write-pixels.ts";

/** An encoded image. */
interface BrowserImage {
  readonly path: string;
  readonly content: Blob;
  readonly label: number;
}

/** How images become samples. */
interface BrowserImageSource {
  /** Source of the images, for messages. */
  readonly name: string;
  readonly conversion: ImageConversion;
  /** Bytes of decoded images to hold. */
  readonly memory: number;
}

/** Images that the browser decodes: the first ones are held in memory, the others are decoded whenever they are read. */
export class BrowserImages {
  /** Images that are decoded together, beside this thread; few, because a photo takes 48 MB until it is made smaller. */
  readonly atOnce = 4;
  readonly #source: BrowserImageSource;
  readonly #images: readonly BrowserImage[];
  readonly #decoder: ImageDecoder;
  /** Images that can be decoded, in their order. */
  readonly #good: BrowserImage[] = [];
  /** [images, height, width, channels] of the first good ones. */
  readonly #pixels: Uint8Array;
  readonly #elements: number;
  readonly #held: number;

  constructor(images: readonly BrowserImage[], source: BrowserImageSource) {
    this.#images = images;
    this.#source = source;
    this.#decoder = new ImageDecoder(source.conversion);
    this.#elements = this.#decoder.elements;
    this.#held = Math.min(images.length, Math.floor(source.memory / this.#elements));
    this.#pixels = new Uint8Array(this.#held * this.#elements);
  }

  /** Decodes the next images, {@link atOnce} of them. @returns the paths of those that cannot be decoded */
  async decodeFrom(first: number): Promise<string[]> {
    const part = this.#images.slice(first, first + this.atOnce);
    const decoded = await Promise.all(
      part.map(({ content }) => this.#decoder.decode(content).catch(() => undefined)),
    );
    return part.flatMap((image, i) => {
      const pixels = decoded[i];
      if (!pixels) return [image.path];
      const at = this.#good.length;
      if (at < this.#held) this.#pixels.set(pixels, at * this.#elements);
      this.#good.push(image);
      return [];
    });
  }

  /** The images that could be decoded; undefined if there are none. @param classes - how many classes there are */
  dataset(classes: number): Dataset | undefined {
    const good = this.#good;
    if (good.length === 0) return undefined;
    const { name, conversion } = this.#source;
    const labels = arrayColumn(name, "labels", good.length, {
      data: Int32Array.from(good, ({ label }) => label),
    });
    const x: Column = {
      ...{ name: "x", type: "integer", shape: conversion.shape, bytes: true },
      range: () => ({ least: 0, most: 255, whole: true }),
      fill: (indices, target) => this.#fill(indices, target),
    };
    return {
      ...datasetOfColumns(name, good.length, [x], { ...labels, classes }),
      fingerprint: `${JSON.stringify(conversion)} ${good.map(({ path, label, content }) => `${path} ${label} ${content.size}`).join("\n")}`,
      sampleName: (index) => good[index]?.path ?? "",
    };
  }

  #fill(indices: ArrayLike<number>, target: BatchArray): Filled {
    const { name } = this.#source;
    const elements = this.#elements;
    if (target.length < indices.length * elements) {
      throw new DataError(
        `${name}: ${indices.length} samples need ${indices.length * elements} elements, the array holds ${target.length}`,
      );
    }
    const later: Promise<void>[] = [];
    for (let row = 0; row < indices.length; row++) {
      const index = indices[row] as number;
      const image = this.#good[index];
      if (!image) throw new DataError(`${name}: sample ${index} is not in 0 … ${this.#good.length - 1}`);
      const write = (pixels: Uint8Array) => this.#decoder.write(pixels, target, row * elements);
      if (index < this.#held) write(this.#pixels.subarray(index * elements, (index + 1) * elements));
      else later.push(this.#decoder.decode(image.content).then(write));
    }
    return later.length > 0 ? Promise.all(later).then(() => {}) : undefined;
  }
}

/** Decodes images into the size of a model's input. */
export class ImageDecoder {
  /** Numbers of one image. */
  readonly elements: number;
  readonly #conversion: ImageConversion;
  readonly #channels: number;
  readonly #size: Extent;
  readonly #context: OffscreenCanvasRenderingContext2D;

  /** @throws SorthError where there is no canvas */
  constructor(conversion: ImageConversion) {
    const { shape, channelsLast } = conversion;
    const [channels = 1, height = 1, width = 1] = channelsLast ? [shape[2], shape[0], shape[1]] : shape;
    this.#conversion = conversion;
    this.#channels = channels;
    this.#size = { height, width };
    this.elements = channels * height * width;
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    if (!context) throw new DataError("this browser offers no canvas to decode images");
    this.#context = context;
  }

  /** Bytes of an image, [height, width, channels]. @throws an error of the browser for what is no image */
  async decode(file: Blob): Promise<Uint8Array> {
    const bitmap = await createImageBitmap(file);
    const { width, height } = this.#size;
    const context = this.#context;
    try {
      context.fillStyle = "black";
      context.fillRect(0, 0, width, height);
      context.imageSmoothingQuality = "high";
      const [x, y, w, h] = usedPart(bitmap, this.#size, this.#conversion.fit);
      context.drawImage(bitmap, x, y, w, h, 0, 0, width, height);
      return withChannels(context.getImageData(0, 0, width, height).data, this.#channels);
    } finally {
      bitmap.close();
    }
  }

  /** Writes a decoded image as a sample. */
  write(pixels: Uint8Array, target: BatchArray, to: number): void {
    const size = { ...this.#size, channels: this.#channels };
    writePixels(pixels, size, this.#conversion.channelsLast, target, to);
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
  fit: ImageConversion["fit"],
): [number, number, number, number] {
  if (fit === "stretch") return [0, 0, image.width, image.height];
  const scale = Math.min(image.width / to.width, image.height / to.height);
  const [width, height] = [to.width * scale, to.height * scale];
  return [(image.width - width) / 2, (image.height - height) / 2, width, height];
}

/**
 * Red, green and blue of pixels, or their luma.
 * @param pixels - [height, width, 4]
 * @returns [height, width, channels]
 */
export function withChannels(pixels: Uint8ClampedArray, channels: number): Uint8Array {
  const count = pixels.length / 4;
  const result = new Uint8Array(count * channels);
  for (let i = 0; i < count; i++) {
    const [red = 0, green = 0, blue = 0] = [pixels[4 * i], pixels[4 * i + 1], pixels[4 * i + 2]];
    if (channels === 1) {
      result[i] = Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
    } else {
      result[3 * i] = red;
      result[3 * i + 1] = green;
      result[3 * i + 2] = blue;
    }
  }
  return result;
}
