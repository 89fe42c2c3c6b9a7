import { UsageError } from "../errors.ts";
import { isObject, whatIs } from "../what-is.ts";

/** @throws UsageError for what is no dataset, such as its parts together, or the promise of one */
export function checkDataset(given: unknown): void {
  if (isObject(given) && "size" in given && "x" in given) {
    const { size, fill } = given as { readonly size: unknown; readonly fill?: unknown };
    if (Number.isSafeInteger(size) && typeof fill === "function") return;
    throw new UsageError(
      typeof fill === "function"
        ? `the size of a dataset is its number of samples, not ${whatIs(size)}`
        : "a dataset has a function fill, which writes samples into arrays",
    );
  }
  const parts = isObject(given) && "train" in given;
  throw new UsageError(
    parts
      ? "these are the parts of data together: give one of them, as in fit(data.train)"
      : `data are what arrayDataset, namedDataset or a loader gives, not ${whatIs(given)}`,
  );
}
