import { UsageError } from "../errors.ts";
import { isObject, whatIs } from "../what-is.ts";

/** @throws UsageError for what is no model, such as its bytes, its path, or the promise of one */
export function checkModel(given: unknown): void {
  if (isObject(given) && "pieces" in given) return;
  throw new UsageError(`a model is what readModel gives (model = await readModel(…)), not ${whatIs(given)}`);
}
