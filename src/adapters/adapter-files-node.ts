import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Probe } from "../analysis/probe.ts";
import { checkText } from "../check-arguments.ts";
import { FileError, UsageError } from "../errors.ts";
import { writeModel } from "../onnx/files-node.ts";
import type { Model } from "../onnx/model.ts";
import { readOrdinary, textIn } from "../onnx/read-file.ts";
import {
  checkWritable,
  makeFolder,
  reasonOf,
  type WriteOptions,
  writeFileSafely,
} from "../onnx/write-file.ts";
import type { Adapter } from "./adapter.ts";
import { encodeOnnxAdapter } from "./adapter-inputs.ts";
import { decodeOnnxAdapter, isOnnxAdapter } from "./onnx-adapter-file.ts";
import { decodeAdapter, encodeAdapter } from "./peft-file.ts";

/** PEFT's names of the two files. */
const [tensorsName, configName] = ["adapter_model.safetensors", "adapter_config.json"] as const;

/**
 * Reads an adapter in PEFT's format, written by this program or by PEFT, or in ONNX Runtime's (`.onnx_adapter`).
 * @param path - the file of tensors, or the folder that holds `adapter_model.safetensors`; `adapter_config.json` lies beside it
 * @throws SorthError when a file cannot be read, UsageError for an adapter that is no LoRA
 *
 * @example
 * import { adapterOf, addAdapters, mergeAdapters, readAdapter, readModel, writeAdapter } from "sorth-onnx";
 *
 * const model = await readModel("model.onnx");
 * await writeAdapter(await adapterOf(await addAdapters(model)), "my-adapter");
 * const merged = await mergeAdapters(model, await readAdapter("my-adapter"));
 */
export async function readAdapter(path: string): Promise<Adapter> {
  checkText("the path of an adapter", path);
  const file = (await isFolder(path)) ? join(path, tensorsName) : path;
  const bytes = await readOrdinary(file).catch((error: unknown) => {
    throw new FileError(`cannot read the adapter "${file}": ${reasonOf(error)}`);
  });
  if (isOnnxAdapter(file)) return decodeOnnxAdapter(bytes, `"${file}"`);
  const beside = await textIn(join(dirname(file), configName)).catch(() => undefined);
  return decodeAdapter(bytes, beside, `"${file}"`);
}

/**
 * Writes an adapter in PEFT's format: the file of tensors, and `adapter_config.json` beside it. In Python
 * `PeftModel.from_pretrained(model, folder)` reads them, if the file of tensors is called `adapter_model.safetensors`. If that
 * folder has the configuration of another adapter, the file's own is called `<file>.adapter_config.json`.
 * @param path - the file of tensors (`.safetensors`), or a folder for both files, which is created
 * @returns the files that were written
 * @throws UsageError if a file exists and `force` is not set
 *
 * @example
 * import { adapterOf, addAdapters, readModel, writeAdapter } from "sorth-onnx";
 *
 * await writeAdapter(await adapterOf(await addAdapters(await readModel("model.onnx"))), "adapter");
 */
export async function writeAdapter(
  adapter: Adapter,
  path: string,
  options: WriteOptions = {},
): Promise<string[]> {
  checkText("the path of an adapter", path);
  if (isOnnxAdapter(path)) {
    throw new UsageError(
      `"${path}" is written by writeOnnxAdapter, which needs the model: its parameters are named after the model's weights`,
    );
  }
  const file = adapterFile(path);
  await checkAdapterOutput(path, options);
  const { tensors, config } = encodeAdapter(adapter);
  const folder = dirname(file);
  makeFolder(folder);
  const usual = join(folder, configName);
  const other = await textIn(usual).catch(() => undefined);
  const isTaken = other !== undefined && other !== config && options.force !== true;
  const configFile = isTaken ? join(folder, `${basename(file, ".safetensors")}.${configName}`) : usual;
  await writeFileSafely(file, tensors, options);
  await writeFileSafely(configFile, config, { force: !isTaken });
  return [file, configFile];
}

/** Writes the adapter of a model in ONNX Runtime's format. The export `writeOnnxAdapter` documents it. */
export async function writeOnnxAdapter(
  model: Model,
  path: string,
  options: WriteOptions,
  probe: Probe,
): Promise<string[]> {
  checkText("the path of an adapter", path);
  if (!isOnnxAdapter(path)) throw new UsageError(`"${path}" does not end in .onnx_adapter`);
  await checkAdapterOutput(path, options);
  const { adapter, model: graph } = await encodeOnnxAdapter(model, probe);
  makeFolder(dirname(path));
  await writeFileSafely(path, adapter, options);
  await writeModel(graph, graphBeside(path), options);
  return [path, graphBeside(path)];
}

/** The graph that takes an adapter of ONNX Runtime. */
const graphBeside = (path: string): string => path.replace(/\.onnx_adapter$/i, ".inputs.onnx");

/**
 * Refuses a path to which no adapter can be written, before the long work begins.
 * @throws UsageError if a file exists and `force` is not set
 */
export async function checkAdapterOutput(path: string, { force = false }: WriteOptions): Promise<void> {
  const file = adapterFile(path);
  await checkWritable(file);
  if (force) return;
  const folder = dirname(file);
  const own = join(folder, `${basename(file, ".safetensors")}.${configName}`);
  const others = basename(file) === tensorsName ? [join(folder, configName)] : [];
  const all = isOnnxAdapter(path) ? [path, graphBeside(path)] : [file, own, ...others];
  for (const one of all) {
    if (!(await stat(one).catch(() => undefined))) continue;
    throw new UsageError(`"${one}" already exists; give the adapter another name, or --force to replace it`);
  }
}

/** The file of tensors: the path itself, or the one in a folder. */
const adapterFile = (path: string): string => (/\.safetensors$/i.test(path) ? path : join(path, tensorsName));

const isFolder = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
