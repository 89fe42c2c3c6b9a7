import { parseHTML } from "linkedom";

/** An empty document in node, in which a page is drawn and written. */
export function blankDocument(): Document {
  return parseHTML("<!doctype html><html><head></head><body></body></html>").document as unknown as Document;
}
