import { UsageError } from "../../errors.ts";

/** A document in a browser, to draw and write a page in. @throws UsageError in a worker, which has none */
export function blankDocument(): Document {
  if (typeof document === "undefined") {
    throw new UsageError("a report is drawn in a document, which a worker lacks: make it in the page itself");
  }
  return document.implementation.createHTMLDocument("");
}
