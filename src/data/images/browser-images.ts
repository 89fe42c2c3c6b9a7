import { DataError, messageOf } from "../../errors.ts";
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
  readonly decoder: ImageDecoder;
  /** Bytes of decoded images to hold. */
  readonly memory: number;
}

/**
 * A dataset of images that the browser decodes when they are read for the first time. The first ones are then held in memory,
 * the others are decoded whenever they are read.
 * @param classes - how many classes there are
 */
export function browserImages(
  images: readonly BrowserImage[],
  source: BrowserImageSource,
  classes: number,
): Dataset {
  const { name, conversion } = source;
  const reader = new ImageReader(images, source);
  const labels = arrayColumn(name, "labels", images.length, {
    data: Int32Array.from(images, ({ label }) => label),
  });
  const x: Column = {
    ...{ name: "x", type: "integer", shape: conversion.shape, bytes: true },
    range: () => ({ least: 0, most: 255, whole: true }),
    fill: (indices, target) => reader.fill(indices, target),
  };
  return {
    ...datasetOfColumns(name, images.length, [x], { ...labels, classes }),
    fingerprint: `${JSON.stringify(conversion)} ${images.map(({ path, label, content }) => `${path} ${label} ${content.size}`).join("\n")}`,
    sampleName: (index) => images[index]?.path ?? "",
  };
}

/** Reads images, and holds some. */
class ImageReader {
  readonly #images: readonly BrowserImage[];
  readonly #source: BrowserImageSource;
  /** Pixels of the first images, by index; those that were read. */
  readonly #held = new Map<number, Uint8Array>();
  /** Images that are being decoded, of which two trainers may ask for the same. */
  readonly #coming = new Map<number, Promise<Uint8Array>>();

  constructor(images: readonly BrowserImage[], source: BrowserImageSource) {
    this.#images = images;
    this.#source = source;
  }

  fill(indices: ArrayLike<number>, target: BatchArray): Filled {
    const { name, decoder } = this.#source;
    const { elements } = decoder;
    if (target.length < indices.length * elements) {
      throw new DataError(
        `${name}: ${indices.length} samples need ${indices.length * elements} elements, the array holds ${target.length}`,
      );
    }
    const later: Promise<void>[] = [];
    for (let row = 0; row < indices.length; row++) {
      const index = indices[row] as number;
      const write = (pixels: Uint8Array) => decoder.write(pixels, target, row * elements);
      const held = this.#held.get(index);
      if (held) write(held);
      else later.push(this.#decoded(index).then(write));
    }
    return later.length > 0 ? Promise.all(later).then(() => {}) : undefined;
  }

  /** @throws SorthError for an index without an image; rejects for an image that cannot be decoded */
  #decoded(index: number): Promise<Uint8Array> {
    const { name, decoder, memory } = this.#source;
    const image = this.#images[index];
    if (!image) throw new DataError(`${name}: sample ${index} is not in 0 … ${this.#images.length - 1}`);
    const known = this.#coming.get(index);
    if (known) return known;
    const pixels = decoder
      .decode(image.content)
      .then((decoded) => {
        if ((index + 1) * decoder.elements <= memory) this.#held.set(index, decoded);
        return decoded;
      })
      .catch((error: unknown) => {
        throw new DataError(
          `${name}: the browser cannot decode ${image.path} (${messageOf(error)}): leave it out`,
        );
      })
      .finally(() => this.#coming.delete(index));
    this.#coming.set(index, pixels);
    return pixels;
  }
}

/**
 * Limits of what is decoded at the same time, beside this thread: a number of images, and a number of bytes of their files. A photo of 4
 * MB takes 48 MB until it is made smaller.
 */
const atOnce = { images: 16, bytes: 2 ** 24 };

/** Decodes images into the size of a model's input, a few at a time however many are asked for. */
export class ImageDecoder {
  /** Numbers of one image. */
  readonly elements: number;
  readonly #conversion: ImageConversion;
  readonly #channels: number;
  readonly #size: Extent;
  readonly #context: OffscreenCanvasRenderingContext2D;
  readonly #open = { images: 0, bytes: 0 };
  readonly #waiting: { readonly size: number; readonly begin: () => void }[] = [];

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

  /** Bytes of an image, [height, width, channels], when its turn comes. @throws an error of the browser for what is no image */
  async decode(file: Blob): Promise<Uint8Array> {
    await new Promise<void>((begin) => {
      this.#waiting.push({ size: file.size, begin });
      this.#beginNext();
    });
    try {
      return this.#pixelsOf(await createImageBitmap(file));
    } finally {
      this.#open.images -= 1;
      this.#open.bytes -= file.size;
      this.#beginNext();
    }
  }

  /** Whether a file can be decoded. Formats of every browser show in its first bytes; others are decoded to see. */
  async canDecode(file: Blob): Promise<boolean> {
    const head = String.fromCharCode(...new Uint8Array(await file.slice(0, 12).arrayBuffer()));
    const isWebp = head.startsWith("RIFF") && head.endsWith("WEBP");
    if (isWebp || ["\x89PNG\r\n\x1a\n", "\xff\xd8\xff", "GIF8"].some((begin) => head.startsWith(begin)))
      return true;
    return this.decode(file).then(
      () => true,
      () => false,
    );
  }

  #beginNext(): void {
    const { images, bytes } = this.#open;
    const next = this.#waiting[0];
    const fits = next && images < atOnce.images && (images === 0 || bytes + next.size <= atOnce.bytes);
    if (!fits) return;
    this.#waiting.shift();
    this.#open.images += 1;
    this.#open.bytes += next.size;
    next.begin();
    this.#beginNext();
  }

  #pixelsOf(bitmap: ImageBitmap): Uint8Array {
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
