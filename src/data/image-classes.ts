import { DataError } from "../errors.ts";

/** An image file, with the label that its path implies. */
export interface LabelledPath {
  readonly path: string;
  /** Index of its class in {@link ImageClasses.classes}; −1 where no folder is named after one of the known classes. */
  readonly label: number;
}

/** The classes and the split that the paths of images imply. */
export interface ImageClasses {
  /** Sorted names of the folders that hold images; the index is the label. */
  readonly classes: readonly string[];
  readonly train: readonly LabelledPath[];
  /** Images below a folder called `val`, `valid` or `validation`. */
  readonly validation: readonly LabelledPath[];
  /** Images below a folder called `test`. */
  readonly test: readonly LabelledPath[];
}

const folderParts: Readonly<Record<string, "validation" | "test">> = {
  ...{ test: "test", testing: "test" },
  ...{ val: "validation", valid: "validation", validation: "validation" },
};
const imageNames = /\.(png|jpe?g|webp|gif|bmp|avif)$/i;

/**
 * Assigns each image to the class that its folder names: `digits/train/seven/0001.png` has class `seven`. Hidden files and
 * files that are not images are ignored.
 * @param name - name of the folder, for messages
 * @param known - the classes of a trained model, whose labels the images get; default: those of the folders
 * @throws SorthError when there is no image, when an image lies in no class folder, or when there is only one class
 *
 * @example
 * imageClasses(["pets/cat/1.png", "pets/dog/1.png"], "pets").classes; // ["cat", "dog"]
 */
export function imageClasses(
  paths: readonly string[],
  name: string,
  known?: readonly string[],
): ImageClasses {
  const images = paths
    .map((path) => ({ path, parts: path.split("/").filter(Boolean) }))
    .filter(({ path, parts }) => imageNames.test(path) && !parts.some((part) => part.startsWith(".")))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  if (images.length === 0) {
    throw new DataError(
      `${name}: there is no image in it (png, jpg, webp, gif, bmp, avif); put the images of each class in a folder of their own`,
    );
  }
  const classOf = (parts: readonly string[]): string | undefined => parts.at(-2);
  const found = [...new Set(images.map(({ parts }) => classOf(parts) ?? ""))].sort();
  const classes = known ?? found;
  const isLabelled = !known || found.some((one) => known.includes(one));
  const other = isLabelled ? found.find((one) => !classes.includes(one)) : undefined;
  if (other !== undefined) {
    throw new DataError(
      `${name}: the folder "${other}" is none of the model's classes, ${classes.slice(0, 20).join(", ")}`,
    );
  }
  if (!known && (classes.length < 2 || classes.includes(""))) {
    throw new DataError(
      `${name}: the images are not sorted into classes; put the images of each class in a folder named after it`,
    );
  }
  const labelled = images.map(({ path, parts }) => ({
    ...{ path, label: classes.indexOf(classOf(parts) ?? "") },
    part: parts.slice(0, -2).flatMap((part) => folderParts[part.toLowerCase()] ?? [])[0] ?? "train",
  }));
  const part = (wanted: "train" | "validation" | "test") =>
    labelled.filter((image) => image.part === wanted).map(({ path, label }) => ({ path, label }));
  return { classes, train: part("train"), validation: part("validation"), test: part("test") };
}
