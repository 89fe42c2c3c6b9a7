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
 * Decodes an image as bytes [height, width, channels]: grey for one channel, else red, green and blue. The grey of a coloured image is
 * its luma, as in browsers here and in Pillow (the decoder's own grey differs by up to 47 of 255). It is turned as its EXIF data say; transparent pixels become black.
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
    const isColoured = channels === 1 && !greys.has((await sharp(content).metadata()).space);
    const image = sharp(content, { failOn: "error" })
      .autoOrient()
      .flatten({ background: "black" })
      .resize(width, height, { fit: fit === "crop" ? "cover" : "fill" });
    const { data, info } = await image
      .toColourspace(channels === 1 && !isColoured ? "b-w" : "srgb")
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    // A plain Uint8Array, because a Buffer's `slice` is not a copy: code that changes an image would read what it has just written.
    const pixels = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    if (isColoured && info.channels === 3) return lumaOf(pixels);
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

/** Colour spaces of images without colours. */
const greys = new Set<string | undefined>(["b-w", "grey16"]);

/** The luma of red, green and blue (ITU-R BT.601). */
function lumaOf(pixels: Uint8Array): Uint8Array {
  return Uint8Array.from({ length: pixels.length / 3 }, (_, i) => {
    const [red = 0, green = 0, blue = 0] = [pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]];
    return Math.round(0.299 * red + 0.587 * green + 0.114 * blue);
  });
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
