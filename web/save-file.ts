import { el } from "./dom.ts";

/** Saves a file through the browser's downloads. */
export function saveFile(name: string, content: Uint8Array<ArrayBuffer>): void {
  const address = URL.createObjectURL(new Blob([content], { type: "application/octet-stream" }));
  const link = el("a", { href: address, download: name });
  link.click();
  // Once the download has begun, the browser itself holds the file.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
