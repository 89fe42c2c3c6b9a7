import { join } from "node:path";
import { DataError, UsageError } from "../../errors.ts";
import { shapeText } from "../../graph/shapes.ts";
import { arrayColumn, labelled } from "../array-dataset.ts";
import type { DataConversion, ImageConversion } from "../conversion.ts";
import {
  type BatchArray,
  type Column,
  type Dataset,
  datasetOfColumns,
  type TrainingPass,
} from "../dataset.ts";
import { imageClasses, type LabelledPath } from "../image-classes.ts";
import { wantedInputs } from "../model-inputs.ts";
import type { DataOptions } from "../options.ts";
import type { SplitData } from "../split-data.ts";
import { type Augmentation, applyChange, drawChange, type ImageSize } from "./augment.ts";
import { decodeImage } from "./decode-node.ts";
import { checkImages, filesBelow } from "./files-node.ts";

/**
 * A folder of images as data, with one folder per class; class folders below `train`, `val` (or `validation`) and `test` are
 * the parts. Images get the size of the model's input and are decoded when they are read: memory holds one run's samples.
 * @throws SorthError for a model whose input takes no images, for files that are no images, and for unsorted images
 */
export async function loadImageFolder(folder: string, options: DataOptions): Promise<SplitData> {
  const stored = options.conversion?.images && options.conversion;
  const images = stored?.images ?? imagesFor(folder, options);
  const sorted = imageClasses(await filesBelow(folder), folder, stored?.classes);
  const input = options.model && wantedInputs(options.model, options.dims)[0]?.name;
  const part = async (paths: readonly LabelledPath[], name: string, augment?: Augmentation) => {
    if (paths.length === 0) return undefined;
    const sizes = await checkImages(
      folder,
      paths.map(({ path }) => path),
    );
    return imageDataset({
      folder,
      name,
      paths,
      sizes,
      images,
      input: input ?? "x",
      augment,
      classes: sorted.classes.length,
    });
  };
  const train = await part(sorted.train, folder, options.augment);
  const validation = await part(sorted.validation, `${folder} (validation)`);
  const test = await part(sorted.test, `${folder} (test)`);
  const first = train ?? test ?? validation;
  if (!first) throw new DataError(`${folder}: there is no image in it`);
  const conversion: DataConversion = stored ?? { version: 1, images, classes: sorted.classes };
  return { train: first, ...(validation && { validation }), test, conversion };
}

/** How images fit a model's only input for data. */
function imagesFor(folder: string, { model, dims, resize = "crop" }: DataOptions): ImageConversion {
  if (!model)
    throw new UsageError(`${folder}: a folder of images needs the model, whose input says their size`);
  const inputs = wantedInputs(model, dims);
  const [input] = inputs;
  if (!input || inputs.length > 1) {
    throw new DataError(
      `${folder}: images fit a model with one input for data; this one has ${inputs.length}: save the samples in an .npz file`,
    );
  }
  const { shape, name } = input;
  const text = `[${shape.map((dim) => dim ?? "?").join(", ")}]`;
  const isColour = (dim: number | null | undefined) => dim === 1 || dim === 3;
  if (shape.includes(null)) {
    throw new UsageError(
      `${folder}: input "${name}" of the model takes ${text}, with open lengths: fix the size of the images with --dim`,
    );
  }
  const lengths = shape as readonly number[];
  if (lengths.length === 3 && isColour(lengths[0]))
    return { shape: lengths, channelsLast: false, fit: resize };
  if (lengths.length === 3 && isColour(lengths[2]))
    return { shape: lengths, channelsLast: true, fit: resize };
  if (lengths.length === 2) return { shape: [1, ...lengths], channelsLast: false, fit: resize };
  const [pixels = 0] = lengths;
  const channels =
    lengths.length === 1 ? [1, 3].find((count) => Number.isInteger(Math.sqrt(pixels / count))) : undefined;
  if (channels !== undefined) {
    const side = Math.sqrt(pixels / channels);
    return { shape: [channels, side, side], channelsLast: false, fit: resize };
  }
  throw new DataError(
    `${folder}: input "${name}" of the model takes ${text}; images need [1 or 3, height, width] or [height, width, 1 or 3]`,
  );
}

interface ImageSource {
  readonly folder: string;
  readonly name: string;
  readonly paths: readonly LabelledPath[];
  /** Sizes of the files, which identify them. */
  readonly sizes: readonly number[];
  readonly images: ImageConversion;
  readonly input: string;
  readonly augment: Augmentation | undefined;
  readonly classes: number;
}

function imageDataset(source: ImageSource): Dataset {
  const { name, paths, sizes, images, input, classes, folder } = source;
  const { shape, channelsLast } = images;
  const [channels = 1, height = 1, width = 1] = channelsLast ? [shape[2], shape[0], shape[1]] : shape;
  const size = { channels, height, width };
  const elements = channels * height * width;
  const read = async (index: number, row: number, target: BatchArray, pass?: TrainingPass) => {
    const image = paths[index];
    if (!image) throw new DataError(`${name}: sample ${index} is not in 0 … ${paths.length - 1}`);
    const pixels = await pixelsOf(join(folder, image.path), source, size, index, pass);
    writePixels(pixels, size, channelsLast, target, row * elements);
  };
  const x: Column = {
    ...{ name: input, type: "integer", shape, bytes: true },
    range: () => ({ least: 0, most: 255, whole: true }),
    async fill(indices, target, pass) {
      if (target.length < indices.length * elements) {
        throw new DataError(
          `${name}: ${indices.length} samples of shape ${shapeText(shape)} need ${indices.length * elements} elements, the array holds ${target.length}`,
        );
      }
      // All at once: ONNX Runtime may block this thread, and decoders in other threads must have work until then.
      await Promise.all(Array.from(indices, (index, row) => read(index, row, target, pass)));
    },
  };
  const labels = labelled(
    arrayColumn(name, "labels", paths.length, { data: Int32Array.from(paths, ({ label }) => label) }),
  );
  const fingerprint = `${JSON.stringify(images)} ${paths.map(({ path, label }, i) => `${path} ${label} ${sizes[i]}`).join("\n")}`;
  const isLabelled = paths.every(({ label }) => label >= 0);
  return {
    ...datasetOfColumns(name, paths.length, [x], isLabelled ? { ...labels, classes } : undefined),
    fingerprint,
    sampleName: (index) => paths[index]?.path ?? "",
  };
}

async function pixelsOf(
  path: string,
  { images, augment }: ImageSource,
  size: ImageSize,
  index: number,
  pass: TrainingPass | undefined,
): Promise<Uint8Array> {
  if (!augment || !pass) return decodeImage(path, size, images.fit);
  const change = drawChange(augment, size, pass, index);
  const enlarged = { ...size, ...change.enlarged };
  return applyChange(await decodeImage(path, enlarged, images.fit), change, size);
}

/** Writes [height, width, channels] as it is, or channel by channel. */
function writePixels(
  pixels: Uint8Array,
  { channels, height, width }: ImageSize,
  channelsLast: boolean,
  target: BatchArray,
  to: number,
): void {
  if (target instanceof BigInt64Array || target instanceof BigUint64Array) {
    throw new DataError("images cannot be fed to an input of 64-bit integers");
  }
  if (channelsLast || channels === 1) {
    target.set(pixels, to);
    return;
  }
  const area = height * width;
  for (let c = 0; c < channels; c++) {
    for (let i = 0; i < area; i++) target[to + c * area + i] = pixels[i * channels + c] as number;
  }
}
