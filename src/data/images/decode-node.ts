import { DataError, messageOf, SorthError } from "../../errors.ts";
import type { ImageSize } from "./augment.ts";

type Sharp = typeof import("sharp")["default"];

let loaded: Promise<Sharp> | undefined;

/** The decoder, loaded on first use. @throws SorthError when it is not installed */
function decoder(): Promise<Sharp> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<Sharp> {
  try {
    const { default: sharp } = await import("sharp");
    // Each image is read once: a cache would only grow.
    sharp.cache(false);
    return sharp;
  } catch (error) {
    const [reason] = messageOf(error).split("\n");
    throw new SorthError(
      `images are decoded by the package sharp, which cannot be loaded (${reason}): npm install sharp`,
    );
  }
}

/**
 * Decodes an image as bytes [height, width, channels]: grey for one channel, else red, green and blue. It is turned as its
 * EXIF data say; transparent pixels become black.
 * @param fit - `crop` resizes the largest centred part of these proportions, `stretch` the whole image
 * @param image - the path of its file or its bytes, and its name for messages
 * @throws SorthError that names the file or the row
 */
export async function decodeImage(
  { name, content }: { readonly name: string; readonly content: string | Uint8Array },
  { height, width, channels }: ImageSize,
  fit: "crop" | "stretch",
): Promise<Uint8Array> {
  const sharp = await decoder();
  try {
    const image = sharp(content, { failOn: "error" })
      .autoOrient()
      .flatten({ background: "black" })
      .resize(width, height, { fit: fit === "crop" ? "cover" : "fill" });
    const coloured = channels === 1 ? image.toColourspace("b-w") : image.toColourspace("srgb");
    const { data, info } = await coloured.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    // A plain Uint8Array, because a Buffer's `slice` is not a copy: code that changes an image would read what it has just written.
    const pixels = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return withChannels(pixels, info.channels, channels);
  } catch (error) {
    const [reason = ""] = messageOf(error).split("\n");
    // If several images are decoded at the same time, the decoder may lose the message about one of them.
    const why = reason === "Unknown error" ? "it is cut short or damaged" : reason;
    throw new DataError(
      `${typeof content === "string" ? content : name}: cannot be decoded (${why}); remove or replace the file`,
    );
  }
}

/** Pixels with another number of channels: the first ones, or one repeated. */
function withChannels(pixels: Uint8Array, found: number, wanted: number): Uint8Array {
  if (found === wanted) return pixels;
  const result = new Uint8Array((pixels.length / found) * wanted);
  for (let i = 0; i < result.length; i++) {
    const channel = Math.min(i % wanted, found - 1);
    result[i] = pixels[Math.floor(i / wanted) * found + (found < 3 ? 0 : channel)] as number;
  }
  return result;
}
