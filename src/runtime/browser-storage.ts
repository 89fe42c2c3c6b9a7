import { FileError, messageOf } from "../errors.ts";

/** A folder in the page's own storage (the origin private file system), by its path from the top. */
export async function storedFolder(path: string, create: boolean): Promise<FileSystemDirectoryHandle> {
  let folder = await navigator.storage.getDirectory();
  for (const part of path.split("/").filter(Boolean))
    folder = await folder.getDirectoryHandle(part, { create });
  return folder;
}

/** Opens a file of that storage. @throws FileError when the file does not exist, or the browser denies this page the storage */
export async function storedFile(folder: string, name: string): Promise<File> {
  return (await handleOf(folder, name, false)).getFile();
}

/** Writes a file of that storage, whole or not at all, over an older one; creates the folder. @throws FileError when it cannot */
export async function writeStored(
  folder: string,
  name: string,
  chunks: Iterable<Uint8Array | Blob | string>,
): Promise<void> {
  const handle = await handleOf(folder, name, true);
  // The file changes only when the stream is closed: whole or not at all.
  const stream = await handle.createWritable();
  try {
    for (const chunk of chunks) await stream.write(chunk as Uint8Array<ArrayBuffer> | Blob | string);
    await stream.close();
  } catch (error) {
    await stream.abort().catch(() => {});
    throw new FileError(`cannot write "${folder}/${name}" to the browser's storage: ${messageOf(error)}`);
  }
}

/** Removes a file of that storage, if it is there. */
export async function removeStored(folder: string, name: string): Promise<void> {
  await (await storedFolder(folder, false)).removeEntry(name).catch((error: unknown) => {
    if ((error as Partial<DOMException>).name !== "NotFoundError") throw error;
  });
}

async function handleOf(folder: string, name: string, create: boolean): Promise<FileSystemFileHandle> {
  try {
    return await (await storedFolder(folder, create)).getFileHandle(name, { create });
  } catch (error) {
    throw new FileError(
      `the browser's storage has no "${folder}/${name}", or does not let this page use it: ${messageOf(error)}`,
    );
  }
}
