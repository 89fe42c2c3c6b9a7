import {
  decodeCheckpoint,
  type Inspection,
  inspect,
  isCheckpoint,
  type Model,
  type RescuedModel,
  readModel,
  rescueModel,
  SorthError,
  strip,
} from "../../src/web.ts";
import type { ChosenFile, ModelSource, PerRun } from "../protocol.ts";
import { baseName, sampleFile } from "./files.ts";

/** A model that can be trained in two ways. */
export interface OpenedModel {
  /** The file's name without its extension. */
  readonly name: string;
  readonly source: ModelSource;
  readonly bytes: number;
  /** The inspection of the plain run's model; for artifacts, of the training model. */
  readonly inspection: Inspection;
  /** The penalty that the file contains. */
  readonly block: Inspection["block"];
  /** The model that each run trains, in forward form. The penalized one may contain its penalty. */
  readonly models: PerRun<Model>;
  /** The file without penalty. */
  readonly original: Model;
  /** The file itself, if it contains a penalty. */
  readonly injected: Model | undefined;
  /** The runs that artifacts of ONNX Runtime's training API contain. */
  readonly rescued: PerRun<RescuedModel> | undefined;
  /** The only parameters that are trained; without it, all of them. */
  readonly trainable?: RegExp;
  /** Most layers are frozen: BatchNormalization keeps its statistics. */
  readonly frozen?: boolean;
}

/**
 * Reads a chosen model: a forward model, an injected one, or a training model of ONNX Runtime's training API with its
 * checkpoint. Files of external data lie beside it.
 * @throws SorthError that says what is missing or wrong
 */
export async function openModel(source: ModelSource): Promise<OpenedModel> {
  const files = source.kind === "sample" ? [await sampleFile(source.name)] : source.files;
  const { main, optimizer, checkpoint } = await sorted(files);
  const { file, model, inspection } = main;
  const name = baseName(file.path).replace(/\.onnx$/i, "");
  const { block } = inspection;
  const original = block ? strip(model) : model;
  const common = {
    ...{ name, source, block, original, bytes: file.content.size },
    injected: block ? model : undefined,
  };
  if (inspection.kind !== "training-artifact") {
    return {
      ...common,
      inspection: block ? await inspect(original) : inspection,
      models: { plain: original, som: model },
      rescued: undefined,
    };
  }
  if (!checkpoint) {
    throw new SorthError(
      `${file.path} holds no weights: choose the file checkpoint of its run together with it (both at once)`,
    );
  }
  const state = decodeCheckpoint(new Uint8Array(await checkpoint.content.arrayBuffer()), checkpoint.path);
  const plain = rescueModel(original, state, optimizer);
  const som = block ? rescueModel(model, state, optimizer) : plain;
  return { ...common, inspection, models: { plain: plain.model, som: som.model }, rescued: { plain, som } };
}

interface ReadFile {
  readonly file: ChosenFile;
  readonly model: Model;
  readonly inspection: Inspection;
}

/** Finds out what each of the chosen files is. */
async function sorted(
  files: readonly ChosenFile[],
): Promise<{ main: ReadFile; optimizer: Model | undefined; checkpoint: ChosenFile | undefined }> {
  const isModel = ({ path }: ChosenFile) => /\.onnx$/i.test(path);
  const others = files.filter((file) => !isModel(file));
  if (others.length === files.length) {
    const names = files.map(({ path }) => path).join(", ") || "nothing";
    throw new SorthError(`no ONNX model was chosen (${names}); its name ends in .onnx`);
  }
  let checkpoint: ChosenFile | undefined;
  const external: ChosenFile[] = [];
  for (const file of others) {
    const start = new Uint8Array(await file.content.slice(0, 8).arrayBuffer());
    if (isCheckpoint(start)) checkpoint = file;
    else external.push(file);
  }
  const read: ReadFile[] = [];
  for (const file of files.filter(isModel)) {
    const data = beside(file, external);
    const model = await named(file, readModel(file.content, data));
    const missing = [...model.externalLocations].filter((location) => !data.has(location));
    if (missing.length > 0) {
      throw new SorthError(
        `${file.path} keeps numbers in ${missing.join(", ")}: choose these files together with it (all at once)`,
      );
    }
    read.push({ file, model, inspection: await named(file, inspect(model)) });
  }
  const ofKind = (kind: string | undefined) =>
    read.filter(({ inspection }) => inspection.artifact?.kind === kind);
  const [training, forward] = [ofKind("training"), ofKind(undefined)];
  const candidates = training.length > 0 ? training : forward;
  const [main, second] = candidates;
  if (!main) {
    throw new SorthError(
      `${read[0]?.file.path} is a file of a training run, which goes on from training_model.onnx and checkpoint: choose these`,
    );
  }
  if (second) throw new SorthError(`${main.file.path} and ${second.file.path}: choose one model at a time`);
  return { main, checkpoint, optimizer: ofKind("optimizer")[0]?.model };
}

/** Files of external data, by the names that a model beside them uses. */
function beside(model: ChosenFile, files: readonly ChosenFile[]): Map<string, Blob> {
  const folder = model.path.slice(0, model.path.length - baseName(model.path).length);
  return new Map(
    files.map(({ path, content }) => [
      folder !== "" && path.startsWith(folder) ? path.slice(folder.length) : baseName(path),
      content,
    ]),
  );
}

/** Adds the file's name to an error. */
async function named<T>({ path }: ChosenFile, result: Promise<T>): Promise<T> {
  try {
    return await result;
  } catch (error) {
    if (error instanceof SorthError) throw new SorthError(`${path}: ${error.message}`);
    throw error;
  }
}
