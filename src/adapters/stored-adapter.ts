import { FileError, messageOf } from "../errors.ts";
import type { Adapter } from "./adapter.ts";
import { decodeOnnxAdapter, isOnnxAdapter } from "./onnx-adapter-file.ts";
import { decodeAdapter } from "./peft-file.ts";

/**
 * Reads an adapter from where a trainer keeps its checkpoints: files in node, the page's own storage in a browser.
 * @param path - a file of tensors (`.safetensors`, `.onnx_adapter`), or a folder with `adapter_model.safetensors`
 * @param read - reads a file of a folder
 * @throws SorthError if there is no such file
 */
export async function storedAdapter(
  path: string,
  read: (folder: string, name: string) => Promise<Uint8Array>,
): Promise<Adapter> {
  const isFile = /\.(safetensors|onnx_adapter)$/i.test(path);
  const at = Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\"));
  const folder = !isFile ? path : at < 0 ? "." : path.slice(0, Math.max(at, 1));
  const name = isFile ? path.slice(at + 1) : "adapter_model.safetensors";
  const bytes = await read(folder, name).catch((error: unknown) => {
    throw new FileError(`cannot read the adapter "${path}": ${messageOf(error)}`);
  });
  if (isOnnxAdapter(name)) return decodeOnnxAdapter(bytes, `"${path}"`);
  const config = await read(folder, "adapter_config.json")
    .then((text) => new TextDecoder().decode(text))
    .catch(() => undefined);
  return decodeAdapter(bytes, config, `"${path}"`);
}
