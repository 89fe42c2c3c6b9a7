import { parseHTML } from "linkedom";

/** A document in node, to draw and write a page in. */
export function blankDocument(): Document {
  return parseHTML("<!doctype html><html><head></head><body></body></html>").document as unknown as Document;
}
