import { createReadStream } from "node:fs";
import { DataError, FileError } from "../errors.ts";
import { ordinary } from "../onnx/read-file.ts";
import { reasonOf } from "../onnx/write-file.ts";

/**
 * The text of a file, part by part: UTF-8, or UTF-16 in either order with a byte order mark, which is left out.
 * @throws SorthError for a file that cannot be read, and for other encodings: different letters would be read as the same one
 */
export async function* textOf(path: string): AsyncGenerator<string, void, undefined> {
  let decoder: TextDecoder | undefined;
  const decoded = (bytes?: Uint8Array) => {
    try {
      return decoder?.decode(bytes, { stream: bytes !== undefined }) ?? "";
    } catch {
      throw new DataError(`${path}: its text is not in UTF-8; save it in that encoding`);
    }
  };
  try {
    const stream = createReadStream(await ordinary(path));
    for await (const bytes of stream as AsyncIterable<Uint8Array>) {
      decoder ??= new TextDecoder(encodingOf(bytes), { fatal: true });
      yield decoded(bytes);
    }
  } catch (error) {
    throw error instanceof DataError ? error : new FileError(`${path}: cannot be read (${reasonOf(error)})`);
  }
  yield decoded();
}

/** The encoding of a text that begins with these bytes. */
export function encodingOf([first, second]: Uint8Array): "utf-8" | "utf-16le" | "utf-16be" {
  if (first === 0xff && second === 0xfe) return "utf-16le";
  return first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
}

/** The lines of a file, each with its line break. */
export async function* linesOf(path: string): AsyncGenerator<string, void, undefined> {
  let rest = "";
  for await (const part of textOf(path)) {
    rest += part;
    if (!part.includes("\n")) continue;
    const lines = rest.split(/(?<=\n)/);
    rest = lines.pop() ?? "";
    yield* lines;
  }
  if (rest !== "") yield rest;
}
