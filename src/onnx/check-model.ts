import { UsageError } from "../errors.ts";
import { isObject, whatIs } from "../what-is.ts";

/** @throws UsageError for what is no model, such as its bytes, its path, or the promise of one */
export function checkModel(given: unknown): void {
  if (isObject(given) && "isItself" in given && !given.isItself) {
    throw new UsageError(
      "the model is wrapped in a Proxy, as Vue and MobX do: give the model itself (toRaw, markRaw)",
    );
  }
  if (isObject(given) && "pieces" in given) return;
  throw new UsageError(`a model is what readModel gives (model = await readModel(…)), not ${whatIs(given)}`);
}
