import { DataError, UsageError } from "../../errors.ts";
import { shapeText } from "../../graph/shapes.ts";
import { arrayColumn, labelled } from "../array-dataset.ts";
import type { ImageConversion } from "../conversion.ts";
import { type BatchArray, type Column, datasetOfColumns, type TrainingPass } from "../dataset.ts";
import { wantedInputs } from "../model-inputs.ts";
import type { DataOptions } from "../options.ts";
import {
  type Augmentation,
  type AugmentedDataset,
  applyChange,
  checkAugmentation,
  drawChange,
  enlargedSize,
  type ImageSize,
} from "./augment.ts";
import { decodeImage } from "./decode-node.ts";
import { inputForm } from "./image-form.ts";
import { writePixels } from "./write-pixels.ts";

export interface EncodedImage {
  /** Where it lies, for messages and reports: its path, or its row. */
  readonly name: string;
  /** The path of its file, or its bytes. */
  readonly content: string | Uint8Array;
  /** Index of its class; below 0 where it has none. */
  readonly label: number;
}

/** Images as a dataset. */
interface ImageSource {
  /** Source of the images, for messages. */
  readonly name: string;
  readonly images: readonly EncodedImage[];
  readonly conversion: ImageConversion;
  /** The model's input for them. */
  readonly input: string;
  readonly augment: Augmentation | undefined;
  /** Number of classes. */
  readonly classes: number;
  /** What identifies the images, without their conversion. */
  readonly fingerprint: string;
  /** Whether `name` of an image is a file, which reports give instead of its number. */
  readonly named: boolean;
}

/** How images fit a model's only input for data. */
export function imageConversionFor(
  where: string,
  { model, dims, resize = "crop" }: DataOptions,
): ImageConversion & { readonly input: string } {
  if (!model) {
    const kind = /\.parquet$/i.test(where) ? "file" : "folder";
    throw new UsageError(`${where}: a ${kind} of images needs the model, whose input says their size`);
  }
  const inputs = wantedInputs(model, dims);
  const [input] = inputs;
  if (!input || inputs.length > 1) {
    throw new DataError(
      `${where}: images fit a model with one input for data; this one has ${inputs.length}: save the samples in an .npz file`,
    );
  }
  const { shape, name } = input;
  const text = `[${shape.map((dim) => dim ?? "?").join(", ")}]`;
  if (shape.includes(null)) {
    throw new UsageError(
      `${where}: input "${name}" of the model takes ${text}, with open lengths: fix the size of the images with --dim`,
    );
  }
  const form = inputForm(shape as readonly number[]);
  if (form) return { ...form, fit: resize, input: name };
  throw new DataError(
    `${where}: input "${name}" of the model takes ${text}; images need [1 or 3, height, width] or [height, width, 1 or 3]`,
  );
}

/** A dataset of images, which are decoded when they are read. */
export function imageDataset(source: ImageSource): AugmentedDataset {
  const { name, images, conversion, input, classes, augment } = source;
  if (augment) checkAugmentation(augment);
  const { shape, channelsLast } = conversion;
  const [channels = 1, height = 1, width = 1] = channelsLast ? [shape[2], shape[0], shape[1]] : shape;
  const size = { channels, height, width };
  const columnOf = (size: ImageSize, augment?: Augmentation): Column => {
    const { channels, height, width } = size;
    const shape = channelsLast ? [height, width, channels] : [channels, height, width];
    const elements = channels * height * width;
    const read = async (index: number, row: number, target: BatchArray, pass?: TrainingPass) => {
      const image = images[index];
      if (!image) throw new DataError(`${name}: sample ${index} is not in 0 … ${images.length - 1}`);
      const pixels = await pixelsOf(image, { conversion, augment }, size, index, pass);
      writePixels(pixels, size, channelsLast, target, row * elements);
    };
    return {
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
  };
  const x = columnOf(size, augment);
  const larger = { ...size, ...enlargedSize(augment ?? {}, size) };
  const labels = labelled(
    arrayColumn(name, "labels", images.length, { data: Int32Array.from(images, ({ label }) => label) }),
  );
  const isLabelled = images.every(({ label }) => label >= 0);
  return {
    ...datasetOfColumns(name, images.length, [x], isLabelled ? { ...labels, classes } : undefined),
    fingerprint: source.fingerprint,
    ...(augment && { augmentation: augment, changing: true }),
    ...(larger.height + larger.width > height + width && { enlarged: new Map([[input, columnOf(larger)]]) }),
    ...(source.named && { sampleName: (index) => images[index]?.name ?? "" }),
  };
}

async function pixelsOf(
  image: EncodedImage,
  { conversion, augment }: Pick<ImageSource, "conversion" | "augment">,
  size: ImageSize,
  index: number,
  pass: TrainingPass | undefined,
): Promise<Uint8Array> {
  if (!augment || !pass) return decodeImage(image, size, conversion.fit);
  const change = drawChange(augment, size, pass, index);
  const enlarged = { ...size, ...change.enlarged };
  return applyChange(await decodeImage(image, enlarged, conversion.fit), change, size);
}
