import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join, parse } from "node:path";
import type { Command } from "commander";
import { FileError, UsageError } from "../errors.ts";

/** The flag that says where a command writes. */
export interface OutputFlags {
  readonly output?: string;
}

/**
 * Declares `-o, --output <file>` with its default.
 * @param kind - of the file that is written, as its default name has it: `model.<kind>.onnx`
 */
export function addOutputFlag(command: Command, kind: string, meaning: string): void {
  command.option("-o, --output <file>", `${meaning} (default: model.${kind}.onnx beside model.onnx)`);
}

/** Where a command writes when `-o` does not say: beside its input, `model.onnx` → `model.<kind>.onnx`. */
export function outputBeside(input: string, kind: string): string {
  return join(dirname(input), `${basename(input).replace(/\.onnx$/i, "")}.${kind}.onnx`);
}

/**
 * The file that a command is to write, which can be written: that of `-o`, or its default.
 * @throws UsageError, SorthError as {@link checkOutput} does
 */
export async function chosenOutput(
  { output }: OutputFlags,
  standard: string,
  write: { force: boolean },
): Promise<string> {
  const path = output ?? standard;
  await checkOutput(path, write);
  return path;
}

/**
 * Refuses an output that could not be written at the end, before long work begins.
 * @param flag - the flag that names the file
 * @throws UsageError when the file exists and `force` is not set, or is a folder; SorthError when its folder is missing.
 */
export async function checkOutput(path: string, { force }: { force: boolean }, flag = "-o"): Promise<void> {
  const existing = await stat(path).catch(() => undefined);
  if (existing?.isDirectory()) {
    throw new UsageError(`cannot write "${path}": it is a folder; give a file name`);
  }
  if (existing && !force) {
    throw new UsageError(
      `"${path}" already exists; give another name with ${flag}, or --force to replace it`,
    );
  }
  const folder = await stat(dirname(path)).catch(() => undefined);
  if (!folder?.isDirectory()) {
    throw new FileError(`cannot write "${path}": there is no folder "${dirname(path)}"; make it first`);
  }
}

/** Where a run keeps its checkpoints when nothing else is said: `trained.onnx` → `trained.run`, beside it. */
export function runFolderOf(output: string): string {
  const { dir, name } = parse(output);
  return join(dir, `${name}.run`);
}

/** Refuses to mix a new run into an older one's folder. @throws UsageError unless `force` is set */
export async function checkNoRun(folder: string, { force }: { force: boolean }): Promise<void> {
  const existing = await stat(folder).catch(() => undefined);
  if (existing && !existing.isDirectory()) {
    throw new UsageError(
      `cannot keep checkpoints in "${folder}": it is a file; give --checkpoint another name`,
    );
  }
  if (existing && !force && (await readdir(folder)).length > 0) {
    throw new UsageError(
      `"${folder}" holds a run already; go on with --resume, give --checkpoint another folder, or --force to replace it`,
    );
  }
}
