import { byId } from "../dom.ts";
import type { ChosenFile } from "../protocol.ts";

/** Accepts files and folders dropped anywhere on the page. @param take - gets them, and where they were dropped */
export function takeDrops(take: (files: ChosenFile[], target: EventTarget | null) => void): void {
  const overlay = byId("drop", HTMLElement);
  const holdsFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
  addEventListener("dragover", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    overlay.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    // The overlay stays until the pointer leaves the window.
    if (event.relatedTarget === null) overlay.hidden = true;
  });
  addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    overlay.hidden = true;
    const { target } = event;
    // Entries are available only while the event is handled.
    const items = [...(event.dataTransfer?.items ?? [])];
    const entries = items.flatMap((item) => item.webkitGetAsEntry() ?? []);
    const loose = [...(event.dataTransfer?.files ?? [])].map((file) => ({ path: file.name, content: file }));
    void (entries.length > 0 ? filesOf(entries) : Promise.resolve(loose)).then((files) =>
      take(files, target),
    );
  });
}

/** What dropped files are: an archive of data or images, and the files of a model; what is neither is taken for a model. */
export function sortedFiles(files: readonly ChosenFile[]): {
  readonly archive: ChosenFile | undefined;
  readonly hasImages: boolean;
  readonly models: readonly ChosenFile[] | undefined;
} {
  const ending = (pattern: RegExp) => files.filter(({ path }) => pattern.test(path));
  const [archive] = ending(/\.npz$/i);
  const images = new Set(ending(/\.(png|jpe?g|jfif|webp|gif|bmp|tiff?|avif|hei[cf])$/i));
  const hasImages = images.size > 0;
  const others = files.filter((file) => file !== archive && !images.has(file));
  const isModel = ending(/\.onnx$/i).length > 0 || (!archive && !hasImages);
  return { archive, hasImages, models: isModel ? others : undefined };
}

async function filesOf(entries: readonly FileSystemEntry[]): Promise<ChosenFile[]> {
  const files: ChosenFile[] = [];
  for (const entry of entries) {
    if (entry.isFile) {
      const content = await new Promise<File>((resolve, reject) => {
        (entry as FileSystemFileEntry).file(resolve, reject);
      });
      files.push({ path: entry.fullPath.replace(/^\//, ""), content });
    } else if (entry.isDirectory) {
      files.push(...(await filesOf(await children(entry as FileSystemDirectoryEntry))));
    }
  }
  return files;
}

/** Contents of a folder; browsers deliver them in parts. */
async function children(folder: FileSystemDirectoryEntry): Promise<FileSystemEntry[]> {
  const reader = folder.createReader();
  const all: FileSystemEntry[] = [];
  for (;;) {
    const part = await new Promise<FileSystemEntry[]>((resolve, reject) =>
      reader.readEntries(resolve, reject),
    );
    if (part.length === 0) return all;
    all.push(...part);
  }
}
