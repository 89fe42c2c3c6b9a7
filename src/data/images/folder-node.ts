import { join } from "node:path";
import { DataError } from "../../errors.ts";
import type { DataConversion } from "../conversion.ts";
import { imageClasses, type LabelledPath, placedImages } from "../image-classes.ts";
import { wantedInputs } from "../model-inputs.ts";
import { classesNamed } from "../named-classes.ts";
import type { DataOptions } from "../options.ts";
import type { SplitData } from "../split-data.ts";
import type { Augmentation } from "./augment.ts";
import { checkImages, filesBelow } from "./files-node.ts";
import { imageConversionFor, imageDataset } from "./image-dataset-node.ts";

/**
 * A folder of images as data, with one folder per class; class folders below `train`, `val` (or `validation`) and `test` are
 * the parts. Images get the size of the model's input and are decoded when they are read: memory holds one run's samples.
 * @throws SorthError for a model whose input takes no images, for files that are no images, and for unsorted images
 */
export async function loadImageFolder(folder: string, options: DataOptions): Promise<SplitData> {
  const stored = options.conversion?.images && options.conversion;
  const { input: own, ...fitted } = stored?.images
    ? {
        ...stored.images,
        ...(options.resize && { fit: options.resize }),
        input: options.model && wantedInputs(options.model, options.dims)[0]?.name,
      }
    : imageConversionFor(folder, options);
  const files = await filesBelow(folder);
  const known = stored ? stored.classes : options.classes;
  if (!stored && known) {
    const found = placedImages(files, known).flatMap((image) => image.class ?? []);
    classesNamed(`${folder}: the folder`, found, known);
  }
  const sorted = imageClasses(files, folder, known);
  const part = async (paths: readonly LabelledPath[], name: string, augment?: Augmentation) => {
    if (paths.length === 0) return undefined;
    const sizes = await checkImages(
      folder,
      paths.map(({ path }) => path),
    );
    return imageDataset({
      name,
      images: paths.map(({ path, label }) => ({ name: path, content: join(folder, path), label })),
      conversion: fitted,
      input: own ?? "x",
      augment,
      classes: sorted.classes.length,
      fingerprint: `${JSON.stringify(fitted)} ${paths.map(({ path, label }, i) => `${path} ${label} ${sizes[i]}`).join("\n")}`,
      named: true,
    });
  };
  const train = await part(sorted.train, folder, options.augment);
  const validation = await part(sorted.validation, `${folder} (validation)`);
  const test = await part(sorted.test, `${folder} (test)`);
  const first = train ?? test ?? validation;
  if (!first) throw new DataError(`${folder}: there is no image in it`);
  const conversion: DataConversion = stored ?? { version: 1, images: fitted, classes: sorted.classes };
  return { train: first, ...(validation && { validation }), test, conversion };
}
