import { brokenNumber } from "../analysis/unusable-numbers.ts";
import { checkList, checkText } from "../check-arguments.ts";
import { type DataIdentity, identityOf } from "../data/checksum.ts";
import { learnCrc } from "../data/crc-checksum.ts";
import type { Dataset } from "../data/dataset.ts";
import { FileError, messageOf, NumericError, UsageError } from "../errors.ts";
import { isRecord, parsedJson } from "../json.ts";
import { count, notNegative } from "../numbers.ts";
import { computedTensor } from "../onnx/computed-tensor.ts";
import type { Model } from "../onnx/model.ts";
import { type Chunk, chunkBytes } from "../onnx/stored.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { decodeTensors, encodeTensors } from "../programs/checkpoint.ts";
import { inModel } from "../programs/state-layout.ts";
import { type StepPorts, statePorts } from "../programs/step-ports.ts";
import { whatIs } from "../what-is.ts";
import { averageInputs } from "./averages.ts";
import type { CheckpointKind, EvaluationResult } from "./events.ts";
import type { FitOptions, FitPlan } from "./fit-plan.ts";
import { type Position, positionFromText } from "./run-position.ts";
import { optionsFromText, optionsToText, teacherIn } from "./stored-options.ts";
import { storedTeacher, teacherFolder } from "./stored-teacher.ts";
import type { TrainerOptions } from "./trainer-options.ts";
import type { TrainerRuntime } from "./trainer-runtime.ts";
import type { TrainingSession } from "./training-session.ts";

/** The content of a checkpoint. */
export interface StoredRun {
  /** The file, for messages. */
  readonly where: string;
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly position: Position;
  /** The trainer's options as text. */
  readonly options: string;
  /** The plan of the fit; undefined in checkpoints of older versions, and before the first fit. */
  readonly fit: FitPlan | undefined;
  /** Names of the model's own tensors, parameters and statistics; undefined in checkpoints of older versions. */
  readonly weights: readonly string[] | undefined;
  /** The tensors that hold averages of parameters, by the parameters' names; undefined if the run keeps none. */
  readonly averages: Readonly<Record<string, string>> | undefined;
}

/** The name of a checkpoint's file. */
function fileOf(kind: CheckpointKind): string {
  if (typeof kind === "string" && /^(last|best|epoch-\d+)$/.test(kind)) return `${kind}.safetensors`;
  throw new UsageError(`a checkpoint is last, best or epoch-N, not ${whatIs(kind)}`);
}

/** Reads a checkpoint from a folder. @throws SorthError when it is missing or damaged */
export async function readRun(
  folder: string,
  kind: CheckpointKind,
  { files }: Pick<TrainerRuntime, "files">,
): Promise<StoredRun> {
  checkText("the folder of a run", folder);
  const name = fileOf(kind);
  const where = `${folder}/${name}`;
  const bytes = await files.read(folder, name).catch((error: unknown) => {
    if (kind === "last") throw error;
    if (kind !== "best") {
      throw new FileError(
        `${messageOf(error)}; the checkpoint of an epoch is kept if it is among the best ones (--keep): the folder holds those that are`,
      );
    }
    throw new FileError(
      `${messageOf(error)}; a best checkpoint is kept after an epoch with the best loss, or figure of --monitor, on held-out samples (--validation): take the last one (--from last)`,
    );
  });
  const { tensors, metadata } = decodeTensors(bytes, where);
  const { options, position, fit, weights, averages } = metadata;
  if (options === undefined || position === undefined) throw new FileError(`${where} holds no training run`);
  const names = weights === undefined ? undefined : new Set(namesIn(weights, where));
  const broken = brokenNumber(new Map([...tensors].filter(([own]) => names?.has(own) ?? true)));
  if (broken) {
    throw new FileError(
      `${where}: ${broken}: nothing can be computed with it; take another checkpoint, or begin the run again`,
    );
  }
  // The plan may hold a checksum that Python workers wrote.
  learnCrc();
  return {
    ...{ where, tensors, options },
    position: withFigures(positionFromText(position, where)),
    fit: fit === undefined ? undefined : planFromText(fit, where),
    weights: names && [...names],
    averages: averages === undefined ? undefined : namesByName(averages, where),
  };
}

/** A position as JSON text gives it back, with figures as numbers: JSON has no NaN and writes null. Figures that are not numbers are left out. */
function withFigures({ validated, ...position }: Position): Position {
  if (!isRecord(validated)) return position;
  const number = (one: unknown) => (one === null ? Number.NaN : one);
  const numbers = (one: unknown) =>
    isRecord(one)
      ? Object.fromEntries(Object.entries(one).map(([name, each]) => [name, number(each)]))
      : number(one);
  const figures = Object.fromEntries(
    Object.entries(validated).map(([name, one]) => [name, name === "perClass" ? one : numbers(one)]),
  );
  const { loss, samples, accuracy = 0, metrics = {} } = figures;
  const isWhole = [loss, samples, accuracy, ...Object.values(isRecord(metrics) ? metrics : {})].every(
    (one) => typeof one === "number",
  );
  return isWhole ? { ...position, validated: figures as unknown as EvaluationResult } : position;
}

/** A list of names. @throws FileError for anything else */
function namesIn(json: string, where: string): readonly string[] {
  const found = parsedJson(json);
  if (Array.isArray(found) && found.every(isText)) return found;
  throw new FileError(`${where} is damaged: it does not say which of its tensors are weights`);
}

/** Names by name. @throws FileError for anything else */
function namesByName(json: string, where: string): Readonly<Record<string, string>> {
  const found = parsedJson(json);
  if (isRecord(found) && Object.values(found).every(isText)) {
    return found as Readonly<Record<string, string>>;
  }
  throw new FileError(`${where} is damaged: it does not say which of its tensors are averages`);
}

const isText = (value: unknown): value is string => typeof value === "string";

/** What {@link writeRun} writes. */
interface WrittenRun {
  readonly model: Model;
  readonly session: TrainingSession;
  readonly ports: Pick<StepPorts, "parameters" | "shared" | "statistics" | "average">;
  readonly options: TrainerOptions;
  readonly position: Position;
  readonly fit: FitPlan | undefined;
  /** Whether the folder holds this run already, so that only its state is new. */
  readonly isSaved: boolean;
}

/**
 * Writes a run to a folder: its model, and its state as checkpoints of the given kinds.
 * @throws NumericError for a state with NaN or infinite numbers, which would replace a good one; the folder stays as it was
 */
export async function writeRun(
  folder: string,
  kinds: readonly CheckpointKind[],
  { files }: Pick<TrainerRuntime, "files">,
  { model, session, ports, options, position, fit, isSaved }: WrittenRun,
): Promise<void> {
  checkText("the folder of a run", folder);
  checkList("kinds of checkpoints", kinds);
  for (const kind of kinds) fileOf(kind);
  const { parameters, statistics, average } = ports;
  const [state, broken] = [await session.readState(), await session.brokenNumber()];
  if (broken !== undefined) {
    throw new NumericError(
      `after step ${position.step}, ${broken}: this state is not saved, since no run could go on from it; ${folder} stays as it was`,
    );
  }
  if (!isSaved) await files.writeModel(folder, model);
  if (options.teacher && !isSaved) await files.writeModel(teacherFolder(folder), options.teacher);
  const chunks = encodeTensors(inModelWhenRead(ports, state), {
    options: optionsToText(options),
    position: JSON.stringify(position),
    ...(fit && { fit: JSON.stringify(fit) }),
    weights: JSON.stringify([...parameters, ...statistics].map(({ input }) => input)),
    ...(average && { averages: JSON.stringify(Object.fromEntries(averageInputs(ports, average))) }),
  });
  for (const kind of kinds) await files.write(folder, fileOf(kind), oneByOne(chunks));
}

/** A state in the model's form: tensors that the step holds in another one are made when they are written. */
function inModelWhenRead(
  ports: WrittenRun["ports"],
  state: ReadonlyMap<string, Tensor>,
): ReadonlyMap<string, Tensor> {
  const tensors = new Map(state);
  for (const port of statePorts(ports)) {
    const { input, layout } = port;
    const tensor = state.get(input);
    if (!layout || !tensor) continue;
    const { name, type } = tensor;
    tensors.set(
      input,
      computedTensor(name, type, layout.shape, () => inModel(port, tensor).bytes),
    );
  }
  return tensors;
}

/** The bytes of pieces, of which one at a time is in memory. */
function* oneByOne(chunks: readonly Chunk[]): Generator<Uint8Array> {
  for (const chunk of chunks) yield chunkBytes(chunk);
}

/** Removes checkpoints of a folder, if they are there. */
export async function removeCheckpoints(
  folder: string,
  kinds: readonly CheckpointKind[],
  { files }: Pick<TrainerRuntime, "files">,
): Promise<void> {
  for (const kind of kinds) await files.remove(folder, fileOf(kind));
}

/**
 * The options to resume a run with, its teacher among them. The run continues on its former backend. If that one is not available here (a run of node
 * in a browser), it continues on the first available one, and `onMessage` receives a message.
 */
export async function resumedOptions(
  text: string,
  folder: string,
  { backend: chosen, ...overrides }: Partial<TrainerOptions>,
  { backends, files }: Pick<TrainerRuntime, "backends" | "files">,
): Promise<TrainerOptions> {
  const teacher = await storedTeacher(folder, teacherIn(text), overrides.teacher, files);
  const stored = { ...optionsFromText(text, overrides), ...(teacher && { teacher }) };
  const { backend: before, stepsPerRun, ...options } = stored;
  const available = backends.find(({ name }) => name === before)?.name;
  const backend = chosen ?? available ?? backends[0].name;
  if (backend === before) return stored;
  if (before !== undefined) {
    options.onMessage?.(
      `the run was begun on ${before} and continues on ${backend}: from here on its numbers differ in their last digits`,
    );
  }
  // The best number of steps per run depends on the backend.
  return { ...options, ...(overrides.stepsPerRun !== undefined && { stepsPerRun }), backend };
}

/** @throws UsageError for data that differ from those of the resumed run */
export function checkSameData(dataset: Dataset, validation: FitOptions["validation"], stored: FitPlan): void {
  checkIdentity(dataset, stored.data, "trained");
  const before = stored.validation ?? 0;
  if (typeof before === "number") {
    if (validation === undefined || validation === before) return;
    const now = typeof validation === "number" ? `${validation}` : `"${validation.name}"`;
    throw new UsageError(
      `the run was begun with ${before === 0 ? "no samples" : `a share of ${before} of the samples`} held out for validation, not with ${now}: leave validation out to go on as it was, or set otherData (--other-data)`,
    );
  }
  if (validation === undefined || typeof validation === "number") {
    throw new UsageError(
      `the run was validated on data of its own, "${before.name}" (${before.samples} samples): give it again as validation, or set otherData (--other-data)`,
    );
  }
  checkIdentity(validation, before, "validated");
}

function checkIdentity(dataset: Dataset, before: DataIdentity, verb: string): void {
  const now = identityOf(dataset, before.checksum);
  if (now.checksum === before.checksum && now.samples === before.samples) return;
  throw new UsageError(
    `the run was ${verb} on other data: "${before.name}" with ${before.samples} samples (checksum ${before.checksum}), and "${now.name}" has ${now.samples} (${now.checksum}); give the same data, or set otherData (--other-data) to go on with these`,
  );
}

/** Reads a plan. @throws SorthError where it is damaged */
function planFromText(text: string, where: string): FitPlan {
  const plan = parsedJson(text) as FitPlan;
  const isIdentity = (value: unknown): boolean => {
    const { checksum, samples } = (value ?? {}) as Partial<DataIdentity>;
    return typeof checksum === "string" && count.holds(samples ?? 0);
  };
  const { epochs, maxSteps = 1, data, validation = 0, keep = 1, earlyStop } = plan ?? {};
  const holds =
    [epochs, maxSteps, keep, earlyStop?.patience ?? 1].every(count.holds) &&
    isIdentity(data) &&
    (typeof validation === "number"
      ? notNegative.holds(validation) && validation < 1
      : isIdentity(validation));
  if (!holds) throw new FileError(`${where} is damaged: it does not say how the run was fitted`);
  return plan;
}
