import { DataError } from "../errors.ts";

/** An image file, with the label that its path implies. */
export interface LabelledPath {
  readonly path: string;
  /** Index of its class in {@link ImageClasses.classes}; −1 where no folder is named after one of the known classes. */
  readonly label: number;
}

/** The classes and the split that the paths of images imply. */
interface ImageClasses {
  /** Sorted names of the folders that hold images; the index is the label. */
  readonly classes: readonly string[];
  readonly train: readonly LabelledPath[];
  /** Images below a folder called `val`, `valid` or `validation`. */
  readonly validation: readonly LabelledPath[];
  /** Images below a folder called `test`. */
  readonly test: readonly LabelledPath[];
}

const folderParts: Readonly<Record<string, "train" | "validation" | "test">> = {
  ...{ train: "train", training: "train" },
  ...{ test: "test", testing: "test" },
  ...{ val: "validation", valid: "validation", validation: "validation" },
};
/** File names of images, including formats that no reader here decodes, so that such files are reported and not left out silently. */
const imageNames = /\.(png|jpe?g|jfif|webp|gif|bmp|tiff?|avif|hei[cf]|jxl|jp2|p[bgp]m)$/i;

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
  const placed = placedImages(paths, known);
  if (placed.length === 0) {
    throw new DataError(
      `${name}: there is no image in it (png, jpg, webp, gif, tif, avif); put the images of each class in a folder of their own`,
    );
  }
  const found = [...new Set(placed.map((image) => image.class ?? ""))].sort();
  const classes = known ?? found;
  const isLabelled = !known || found.some((one) => known.includes(one));
  const other = isLabelled ? found.find((one) => !classes.includes(one)) : undefined;
  if (other !== undefined) {
    throw new DataError(
      `${name}: the folder "${other}" is none of the model's classes, ${classes.slice(0, 20).join(", ")}`,
    );
  }
  const stray = placed.find((image) => image.class === undefined);
  if (!known && stray && classes.length > 2) {
    throw new DataError(`${name}: "${stray.path}" lies in no class folder; move it into one, or remove it`);
  }
  if (!known && (classes.length < 2 || stray)) {
    throw new DataError(
      `${name}: the images are not sorted into two classes or more; put the images of each class in a folder named after it`,
    );
  }
  const labelled = placed.map((image) => ({ ...image, label: classes.indexOf(image.class ?? "") }));
  const part = (wanted: "train" | "validation" | "test") =>
    labelled.filter((image) => image.part === wanted).map(({ path, label }) => ({ path, label }));
  return { classes, train: part("train"), validation: part("validation"), test: part("test") };
}

/** An image with the class and the part that its folders name. */
interface PlacedImage {
  readonly path: string;
  readonly part: "train" | "validation" | "test";
  /** Undefined for an image in no folder. */
  readonly class: string | undefined;
}

/** The images among paths, sorted, each with what its folders say; see {@link imageClasses}, which also checks them. */
export function placedImages(paths: readonly string[], known?: readonly string[]): PlacedImage[] {
  const images = paths
    .map((path) => ({ path, parts: path.split("/").filter(Boolean) }))
    .filter(({ path, parts }) => imageNames.test(path) && !parts.some((part) => part.startsWith(".")))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  return sortedIntoClasses(images, known);
}

interface Split {
  readonly path: string;
  /** Folders and the file's name. */
  readonly parts: readonly string[];
}

/**
 * The class and the part of each image: the folder below that of its part, else the first folder, as torchvision's `ImageFolder`;
 * folders below belong to the class. Folders that all images share are no classes if other folders lie below them.
 */
function sortedIntoClasses(images: readonly Split[], known: readonly string[] | undefined): PlacedImage[] {
  let from = 0;
  const sharedFolder = () => {
    const first = images[0]?.parts[from];
    const isShared = images.every(({ parts }) => parts.length - from > 2 && parts[from] === first);
    return isShared && first !== undefined && !known?.includes(first);
  };
  while (sharedFolder()) from += 1;
  return images.map(({ path, parts }) => {
    const folders = parts.slice(from, -1);
    const partAt = (at: number) => folderParts[folders[at]?.toLowerCase() ?? ""];
    // A class, too, may be called test: then no folder lies below.
    const above = folders.length > 1 ? partAt(0) : undefined;
    const before = parts.slice(0, from).map((folder) => folderParts[folder.toLowerCase()]);
    const below = folders.slice(1).map((_, i) => partAt(i + 1));
    const part = above ?? before.find(Boolean) ?? below.find(Boolean) ?? "train";
    return { path, part, class: above ? folders[1] : folders[0] };
  });
}
