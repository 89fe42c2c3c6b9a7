import { FileError } from "../errors.ts";

/** Bytes as text; the same in node and in browsers. */
export const base64 = {
  encode(bytes: Uint8Array): string {
    let binary = "";
    for (const byte of bytes) binary += String.fromCharCode(byte);
    return btoa(binary);
  },
  /** @throws SorthError if the text is not base64. */
  decode(text: string): Uint8Array {
    try {
      return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    } catch {
      throw new FileError(
        "the model's mark is damaged: a kept record is not base64; inject into the original again",
      );
    }
  },
};
