import { readdir, readFile, rm, stat } from "node:fs/promises";
import { basename, dirname, join, parse } from "node:path";
import type { Command } from "commander";
import { FileError, UsageError } from "../errors.ts";
import { checkReplaceable, checkWritable } from "../onnx/write-file.ts";
import { eventFilesIn } from "../report/tensorboard/log-node.ts";

/** The flag for the file that a command writes. */
export interface OutputFlags {
  readonly output?: string;
}

/**
 * Declares `-o, --output <file>` with its default.
 * @param kind - kind of the written file, for its default name `model.<kind>.onnx`
 */
export function addOutputFlag(command: Command, kind: string, meaning: string): void {
  command.option(
    "-o, --output <file>",
    `${meaning} (default: model.${kind}.onnx in the folder of model.onnx)`,
  );
}

/** The default output of a command, in the folder of its input: `model.onnx` → `model.<kind>.onnx`. */
export function outputBeside(input: string, kind: string, extension = "onnx"): string {
  return join(dirname(input), `${basename(input).replace(/\.onnx$/i, "")}.${kind}.${extension}`);
}

/**
 * The output file of a command: that of `-o`, or the default. Checks that it can be written.
 * @throws UsageError, SorthError like {@link checkOutput}
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
 * Refuses an output file that cannot be written, before the long work begins.
 * @param flag - the flag that names the file
 * @throws UsageError when the file exists and `force` is not set, or is a folder, a device or a pipe; SorthError when its
 * folder is missing, or nothing can be written there
 */
export async function checkOutput(path: string, { force }: { force: boolean }, flag = "-o"): Promise<void> {
  const existing = await stat(path).catch(() => undefined);
  if (existing) checkReplaceable(path, existing);
  if (existing && !force) {
    throw new UsageError(
      `"${path}" already exists; give another name with ${flag}, or --force to replace it`,
    );
  }
  const folder = await stat(dirname(path)).catch(() => undefined);
  if (!folder?.isDirectory()) {
    throw new FileError(
      `cannot write "${path}": the folder "${dirname(path)}" does not exist; create it first`,
    );
  }
  await checkWritable(path);
}

/** The default checkpoint folder of a run, in the folder of its output: `trained.onnx` → `trained.run`. */
export function runFolderOf(output: string): string {
  const { dir, name } = parse(output);
  return join(dir, `${name}.run`);
}

/** Refuses a folder for TensorBoard that holds another run. @throws UsageError unless `force` is set */
export async function checkNoEvents(folder: string, { force }: { force: boolean }): Promise<void> {
  const existing = await stat(folder).catch(() => undefined);
  if (existing && !existing.isDirectory()) {
    throw new UsageError(`cannot write events into "${folder}": it is a file; give --tensorboard a folder`);
  }
  if (existing && !force && eventFilesIn(folder).length > 0) {
    throw new UsageError(
      `"${folder}" already holds a run for TensorBoard; give --tensorboard another folder, or --force to replace it`,
    );
  }
  await checkWritable(join(folder, "events"));
}

/** Removes the files of an earlier run for TensorBoard. */
export async function removeEvents(folder: string): Promise<void> {
  for (const name of eventFilesIn(folder)) await rm(join(folder, name));
}

/** What a run writes before its first step. */
const written = ["config.yaml", "report.html", "run.json", "run.jsonl"];

/** Whether a folder holds anything but the records of a run that ended before its first step: nothing can go on from them. */
async function holdsMore(folder: string): Promise<boolean> {
  const names = await readdir(folder);
  if (names.length === 0) return false;
  if (!names.includes("run.json") || names.some((name) => !written.includes(name))) return true;
  const events = await readFile(join(folder, "run.jsonl"), "utf8").catch(() => "");
  return events.includes('"event":"step"');
}

/** Refuses the folder of an earlier run for a new one. @throws UsageError unless `force` is set */
export async function checkNoRun(folder: string, { force }: { force: boolean }): Promise<void> {
  const existing = await stat(folder).catch(() => undefined);
  if (existing && !existing.isDirectory()) {
    throw new UsageError(
      `cannot keep checkpoints in "${folder}": it is a file; give --checkpoint another name`,
    );
  }
  if (existing && !force && (await holdsMore(folder))) {
    throw new UsageError(
      `"${folder}" already holds a run; continue it with --resume, give --checkpoint another folder, or --force to replace it`,
    );
  }
  await checkWritable(join(folder, "run.jsonl"));
}
