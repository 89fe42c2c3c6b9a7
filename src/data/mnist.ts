import { checkBytes, checkFields } from "../check-arguments.ts";
import { DataError, FileError, messageOf } from "../errors.ts";
import { arrayDataset } from "./array-dataset.ts";
import type { Dataset } from "./dataset.ts";
import { type IdxArray, parseIdx } from "./idx.ts";
import { gunzip } from "./unzip.ts";

/** Normalization of pixels. */
export interface PixelOptions {
  /** Mean and standard deviation of the pixels in 0 … 1; default: those of MNIST's training images, 0.1307 and 0.3081. */
  readonly pixels?: { readonly mean: number; readonly std: number };
}

/** The bytes of a file, and its name for messages. */
export interface NamedBytes {
  readonly name: string;
  readonly bytes: Uint8Array;
}

const mnistPixels = { mean: 0.1307, std: 0.3081 };

/**
 * The digits of two IDX files, gzipped or not. x: [1, height, width], normalised to mean 0 and standard deviation 1; y: class
 * labels.
 * @param name - name of the dataset, for messages
 * @throws SorthError when a file is damaged, or when the files do not belong together
 *
 * @example
 * const images = { name: "images", bytes: new Uint8Array(await response.arrayBuffer()) };
 * parseMnist(images, labels, "mnist").x.shape; // [1, 28, 28]
 */
export function parseMnist(
  images: NamedBytes,
  labels: NamedBytes,
  name: string,
  { pixels = mnistPixels }: PixelOptions = {},
): Dataset {
  for (const file of [images, labels]) {
    checkFields("parseMnist takes files as { name, bytes }", file, "name", "bytes");
    checkBytes("the contents of a file", file.bytes);
  }
  const [x, y] = [parse(images), parse(labels)];
  const [count, height, width] = x.shape;
  if (
    x.shape.length !== 3 ||
    y.shape.length !== 1 ||
    height === undefined ||
    width === undefined ||
    count !== y.shape[0]
  ) {
    throw new DataError(
      `${images.name}: images have shape [${x.shape.join(", ")}] and labels [${y.shape.join(", ")}]; [n, height, width] and [n] are needed`,
    );
  }
  return arrayDataset(x.data, y.data, [1, height, width], { name, normalize: pixels });
}

function parse({ name, bytes }: NamedBytes): IdxArray {
  const compressed = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return parseIdx(compressed ? unpacked(bytes, name) : bytes, name);
}

function unpacked(bytes: Uint8Array, name: string): Uint8Array {
  try {
    return gunzip(bytes);
  } catch (error) {
    throw new FileError(`${name}: cannot be decompressed (${messageOf(error)})`);
  }
}
