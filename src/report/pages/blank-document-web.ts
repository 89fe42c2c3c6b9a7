import { UsageError } from "../../errors.ts";

/** An empty document in a browser, in which a page is drawn and written. @throws UsageError in a worker, which has no documents */
export function blankDocument(): Document {
  if (typeof document === "undefined") {
    throw new UsageError(
      "a report needs a document, which a worker lacks: create the report in the page itself",
    );
  }
  return document.implementation.createHTMLDocument("");
}
