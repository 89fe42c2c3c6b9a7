import { DataError } from "../../errors.ts";
import { shapeText } from "../../graph/shapes.ts";
import { elementCount } from "../../onnx/tensor.ts";
import { checkDataset } from "../check-dataset.ts";
import { type BatchArray, type Column, type Dataset, isPending, type TrainingPass } from "../dataset.ts";
import {
  type Augmentation,
  type AugmentedDataset,
  applyChange,
  checkAugmentation,
  drawChange,
  type ImageSize,
  type PixelForm,
  type Pixels,
} from "./augment.ts";
import { type ImageForm, imageForm } from "./image-form.ts";

/**
 * A dataset whose images change at random while training, and stay as they are for an evaluation: `--augment` for arrays of
 * images. The changes depend on the run's seed, the epoch and the sample only.
 *
 * Images are uint8 or floats, [height, width], [channels, height, width] or [height, width, channels] with 1 or 3 channels.
 * @throws SorthError for a dataset without such images, and for colours of numbers that are no pixels
 *
 * @example
 * const { train } = await loadData("cifar.npz", { model });
 * trainer.fit(await augmentedDataset(train, { flip: true, crop: 4 }));
 */
export function augmentedDataset(dataset: Dataset, changes: Augmentation): AugmentedDataset {
  checkDataset(dataset);
  checkAugmentation(changes);
  const columns = [...(dataset.inputs?.values() ?? [])].filter(({ shape }) => imageForm(shape));
  if (columns.length === 0 && !(dataset.inputs === undefined && imageForm(dataset.x.shape))) {
    throw new DataError(
      `${dataset.name}: augmentation changes images, [height, width], [1 or 3, height, width] or [height, width, 1 or 3]; samples have shape ${shapeText(dataset.x.shape)}`,
    );
  }
  const changed = new Map(columns.map((column) => [column.name, augmentedColumn(dataset, column, changes)]));
  const inputs =
    dataset.inputs && new Map([...dataset.inputs].map(([key, own]) => [key, changed.get(key) ?? own]));
  const main = columns.find(({ name }) => name.toLowerCase() === "x") ?? columns[0];
  const form = formOf(dataset, main ?? { ...dataset.x, name: "x" }, changes);
  return {
    ...dataset,
    ...(inputs && { inputs }),
    ...{ augmentation: changes, changing: true },
    fill: (indices, x, y, pass) =>
      changedAfter(dataset.fill(indices, x, y, pass), x, indices, form, changes, pass),
  };
}

/** How a column holds images. */
type Form = PixelForm & ImageForm;

function augmentedColumn(dataset: Dataset, column: Column, changes: Augmentation): Column {
  const form = formOf(dataset, column, changes);
  return {
    ...column,
    range: () => column.range(),
    fill: (indices, target, pass) =>
      changedAfter(column.fill(indices, target, pass), target, indices, form, changes, pass),
  };
}

function formOf(
  dataset: Dataset,
  column: Pick<Column, "name" | "shape"> & Partial<Column>,
  { color }: Augmentation,
): Form | undefined {
  const form = imageForm(column.shape);
  if (!form) return undefined;
  const own: Form = { ...form, black: column.black ?? 0, ...(column.bytes && { white: 255 as const }) };
  if (color === undefined || column.bytes) return own;
  const range = column.range?.();
  if (range && range.least >= 0 && range.most <= 1) return { ...own, white: 1 };
  throw new DataError(
    `${dataset.name}: ${column.name} holds ${range ? `${range.least} … ${range.most}` : "numbers"}, and color changes pixels, uint8 or floats from 0 to 1: leave color out, or save pixels`,
  );
}

/** Changes the images of a batch while training, once they are read. */
function changedAfter(
  filled: Promise<void> | void,
  rows: BatchArray,
  indices: ArrayLike<number>,
  form: Form | undefined,
  changes: Augmentation,
  pass: TrainingPass | undefined,
): Promise<void> | void {
  if (!pass || !form) return filled;
  const change = () => changeRows(rows, indices, form, changes, pass);
  return isPending(filled) ? filled.then(change) : change();
}

function changeRows(
  rows: BatchArray,
  indices: ArrayLike<number>,
  { size, ...form }: Form,
  changes: Augmentation,
  pass: TrainingPass,
): void {
  const width = elementCount([size.height, size.width, size.channels]);
  const numbers = rows as Float32Array;
  for (let row = 0; row < indices.length; row++) {
    const change = drawChange(changes, size, pass, indices[row] as number);
    const own = numbers.subarray(row * width, (row + 1) * width) as Pixels;
    const { enlarged } = change;
    const before =
      enlarged.height === size.height && enlarged.width === size.width
        ? own
        : enlargedImage(own, size, enlarged, form);
    own.set(applyChange(before, change, size, form));
  }
}

/** An image in another size, by bilinear interpolation between the centres of pixels. */
function enlargedImage(
  pixels: Pixels,
  size: ImageSize,
  to: { height: number; width: number },
  { channelsFirst = false, white }: PixelForm,
): Pixels {
  const { height, width, channels } = size;
  const result = new (pixels.constructor as new (length: number) => Pixels)(to.height * to.width * channels);
  const at = (y: number, x: number, c: number, h: number, w: number) =>
    channelsFirst ? (c * h + y) * w + x : (y * w + x) * channels + c;
  const between = (place: number, from: number, length: number) => {
    const centre = Math.min(Math.max(((place + 0.5) * from) / length - 0.5, 0), from - 1);
    const first = Math.floor(centre);
    return { first, next: Math.min(first + 1, from - 1), share: centre - first };
  };
  for (let row = 0; row < to.height; row++) {
    const y = between(row, height, to.height);
    for (let column = 0; column < to.width; column++) {
      const x = between(column, width, to.width);
      for (let c = 0; c < channels; c++) {
        const [a, b, d, e] = [
          [y.first, x.first],
          [y.first, x.next],
          [y.next, x.first],
          [y.next, x.next],
        ].map(([r = 0, k = 0]) => pixels[at(r, k, c, height, width)] as number) as [
          number,
          number,
          number,
          number,
        ];
        const upper = a + x.share * (b - a);
        const value = upper + y.share * (d + x.share * (e - d) - upper);
        result[at(row, column, c, to.height, to.width)] = white === 255 ? Math.round(value) : value;
      }
    }
  }
  return result;
}
