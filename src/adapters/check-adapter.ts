import { checkFields } from "../check-arguments.ts";
import type { Adapter } from "./adapter.ts";

/** @throws UsageError for what is no adapter, such as the path of its file, or the promise of one */
export function checkAdapter(given: unknown): asserts given is Adapter {
  checkFields("an adapter is what readAdapter, decodeAdapter or adapterOf gives", given, "layers", "saved");
}
