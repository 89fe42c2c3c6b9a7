import type { ChosenFile } from "../protocol.ts";

/** The files of an input, with their paths if a folder was chosen. */
export function chosenFiles(input: HTMLInputElement): ChosenFile[] {
  return [...(input.files ?? [])].map((file) => ({
    path: file.webkitRelativePath || file.name,
    content: file,
  }));
}
