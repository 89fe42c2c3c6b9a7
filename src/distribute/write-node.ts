import { cp, link, readdir, rm, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { mnistFolder, sampleFolder } from "../data/mnist-node.ts";
import type { SplitData } from "../data/split-data.ts";
import { FileError, messageOf, UsageError } from "../errors.ts";
import { writeModel } from "../onnx/files-node.ts";
import { checkWritable, makeFolder, writeFileSafely } from "../onnx/write-file.ts";
import type { Trainer } from "../runtime/trainer.ts";
import type { TrainerRuntime } from "../runtime/trainer-runtime.ts";
import type { Contract } from "./contract.ts";
import { writeConverted } from "./converted-data-node.ts";
import { distributionOf, type SharingOptions } from "./distribution.ts";

/** Options of {@link writeDistribution}. */
interface WriteDistributionOptions extends SharingOptions {
  /** Data that workers cannot read themselves, and what they were read from: they are written as arrays. */
  readonly data?: Pick<SplitData, "train" | "validation" | "test"> & { readonly source: string };
  /** Replaces files of a folder that is not empty. */
  readonly force?: boolean;
}

/** The Python package that runs a distribution, in this package. */
const pythonFolder = (): string =>
  join(dirname(createRequire(import.meta.url).resolve("sorth-onnx/package.json")), "python");

/**
 * Writes the run that a trainer begins into a folder, from which several processes do it together: graphs for a part of the
 * batch, `contract.json`, the first checkpoint (`state/`), and a Python package with its start file `run.py`.
 * @throws UsageError for a folder that is not empty, and as {@link distributionOf} does
 */
export async function writeDistribution(
  trainer: Trainer,
  folder: string,
  { force = false, data, ...options }: WriteDistributionOptions,
  runtime: TrainerRuntime,
): Promise<Contract> {
  await checkFolder(folder, force);
  const mnist = options.mnist ?? mnistFolder() ?? sampleFolder();
  const { contract: plain, files } = await distributionOf(
    trainer,
    { ...options, ...(mnist !== undefined && { mnist }) },
    runtime,
  );
  makeFolder(folder);
  const converted = data && (await writeConverted(folder, data.source, data, trainer.step.ports));
  for (const [name, model] of files) await writeModel(model, join(folder, name), { force: true });
  const base = await saveState(trainer, folder);
  const contract = { ...plain, base, ...(converted && { data: { ...plain.data, converted } }) };
  const isSource = (path: string) => !/__pycache__$|\.pyc$|[\\/]\.\w+_cache$/.test(path);
  await cp(pythonFolder(), folder, { recursive: true, force: true, filter: isSource });
  // The contract comes last: a folder that has one is whole.
  await writeFileSafely(join(folder, "contract.json"), `${JSON.stringify(contract, undefined, 1)}\n`, {
    force: true,
  });
  return contract;
}

/**
 * Writes the first checkpoint, without the data files of the model that the graphs have brought already: a large base lies in the
 * folder once.
 * @returns these files
 */
async function saveState(trainer: Trainer, folder: string): Promise<string[]> {
  const state = join(folder, "state");
  const base: string[] = [];
  for (const location of trainer.model.externalLocations) {
    if (!(await stat(join(folder, location)).catch(() => undefined))) continue;
    base.push(location);
    // A hard link spares a copy of the file. Where the file system has no hard links, the file is copied, and the copy is removed again.
    makeFolder(dirname(join(state, location)));
    await link(join(folder, location), join(state, location)).catch(() => {});
  }
  await trainer.save(state);
  for (const location of base) await rm(join(state, location), { force: true });
  return base;
}

/** @throws UsageError for a folder that holds other files */
export async function checkFolder(folder: string, force: boolean): Promise<void> {
  await checkWritable(join(folder, "contract.json"));
  let names: string[];
  try {
    names = await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw new FileError(`cannot write into "${folder}": ${messageOf(error)}`);
  }
  if (names.length > 0 && !force) {
    throw new UsageError(
      `"${folder}" is not empty; give another folder with -o, or --force to replace its files`,
    );
  }
}
