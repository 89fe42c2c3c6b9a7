import type { Dataset } from "../data/dataset.ts";
import { UsageError } from "../errors.ts";
import type { Model } from "../onnx/model.ts";
import { isObject, whatIs } from "../what-is.ts";

/** @throws UsageError for what is no model, such as its bytes, or the promise of one */
export function checkModel(given: Model): void {
  if (isObject(given) && "pieces" in given) return;
  throw new UsageError(`a model is what readModel gives (model = await readModel(…)), not ${whatIs(given)}`);
}

/** @throws UsageError for what is no dataset, such as its parts together, or the promise of one */
export function checkDataset(given: Dataset): void {
  if (isObject(given) && "size" in given && "x" in given) return;
  const parts = isObject(given) && "train" in given;
  throw new UsageError(
    parts
      ? "these are the parts of data together: give one of them, as in fit(data.train)"
      : `data are what arrayDataset, namedDataset or a loader gives, not ${whatIs(given)}`,
  );
}
