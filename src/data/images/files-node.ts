import { open, readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { DataError, FileError } from "../../errors.ts";
import { ordinary } from "../../onnx/read-file.ts";
import { reasonOf } from "../../onnx/write-file.ts";

/** Files that are looked at at the same time. */
const lanes = 32;

/** Paths of all files below a folder and the folders that links in it name, relative to it, with `/`. @throws SorthError when it cannot be read */
export async function filesBelow(folder: string): Promise<string[]> {
  try {
    const found = await pathsBelow(folder, new Set([await realpath(folder)]));
    return found.map((path) => path.slice(join(folder, "/").length).replaceAll("\\", "/"));
  } catch (error) {
    throw new FileError(`${folder}: the folder cannot be read (${reasonOf(error)})`);
  }
}

/** @param above - the folders that links have led to on the way here: a link back to one of them is not followed */
async function pathsBelow(folder: string, above: ReadonlySet<string>): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths: string[] = [];
  for (const entry of entries) {
    if (entry.isDirectory()) continue;
    const path = join(entry.parentPath, entry.name);
    const leads = entry.isSymbolicLink() && (await stat(path).catch(() => undefined))?.isDirectory();
    if (!leads) {
      paths.push(path);
      continue;
    }
    const real = await realpath(path);
    const isBack = [...above, await realpath(entry.parentPath)].some((one) =>
      `${one}/`.startsWith(`${real}/`),
    );
    if (!isBack) paths.push(...(await pathsBelow(path, new Set([...above, real]))));
  }
  return paths;
}

/** The first bytes of files that sharp decodes. */
const beginnings: readonly (readonly [string, (bytes: Uint8Array) => boolean])[] = [
  ["PNG", (bytes) => text(bytes, 0) === "\x89PNG" && text(bytes, 4) === "\r\n\x1a\n"],
  ["JPEG", (bytes) => bytes[0] === 0xff && bytes[1] === 0xd8],
  ["WebP", (bytes) => text(bytes, 0) === "RIFF" && text(bytes, 8) === "WEBP"],
  ["GIF", (bytes) => text(bytes, 0) === "GIF8"],
  ["TIFF", (bytes) => text(bytes, 0) === "II*\0" || text(bytes, 0) === "MM\0*"],
  // HEIC is the same container, for a codec that sharp's builds lack.
  ["AVIF", (bytes) => text(bytes, 4) === "ftyp" && !text(bytes, 8).startsWith("he")],
];
const text = (bytes: Uint8Array, at: number): string => String.fromCharCode(...bytes.subarray(at, at + 4));

/** Whether bytes begin as an image that can be decoded. */
export const isImage = (bytes: Uint8Array): boolean => beginnings.some(([, fits]) => fits(bytes));

/**
 * Looks at the first bytes of images.
 * @returns the size of each file in bytes
 * @throws SorthError that names the files that are empty, or no images that can be decoded
 */
export async function checkImages(folder: string, paths: readonly string[]): Promise<number[]> {
  const sizes = new Array<number>(paths.length).fill(0);
  const broken: string[] = [];
  let next = 0;
  const lane = async () => {
    const bytes = Buffer.alloc(16);
    while (next < paths.length) {
      const at = next++;
      const path = join(folder, paths[at] ?? "");
      const problem = await look(path, bytes).then(
        ({ size, isImage }) => {
          sizes[at] = size;
          return size === 0
            ? "is empty"
            : isImage
              ? undefined
              : "is no PNG, JPEG, WebP, GIF, TIFF or AVIF image";
        },
        (error) => `cannot be read (${reasonOf(error)})`,
      );
      if (problem !== undefined) broken.push(`${path} ${problem}`);
    }
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  const [first, ...others] = broken.sort();
  if (first === undefined) return sizes;
  const more =
    others.length > 0 ? `, and ${others.length} more like it (${others.slice(0, 3).join("; ")})` : "";
  throw new DataError(`${first}${more}; remove or replace these files`);
}

async function look(path: string, bytes: Buffer): Promise<{ size: number; isImage: boolean }> {
  const file = await open(await ordinary(path));
  try {
    const { size } = await file.stat();
    bytes.fill(0);
    await file.read(bytes, 0, bytes.length, 0);
    return { size, isImage: isImage(bytes) };
  } finally {
    await file.close();
  }
}
