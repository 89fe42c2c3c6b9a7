import { appendFileSync, existsSync, readdirSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { checkText } from "../../check-arguments.ts";
import { FileError, messageOf } from "../../errors.ts";
import { checkKnown } from "../../known-options.ts";
import type { AnglesEvent, ObservationEvent } from "../../measure/observe.ts";
import { bytesAt } from "../../onnx/read-file.ts";
import { makeFolder } from "../../onnx/write-file.ts";
import type { EvaluationResult, TrainingEvent } from "../../runtime/events.ts";
import {
  firstRecord,
  type HyperParameters,
  hyperParameterRecord,
  lastSteps,
  scalarRecord,
} from "./event-file.ts";

/** The files of events in a folder. */
export const eventFilesIn = (folder: string): string[] =>
  existsSync(folder) ? readdirSync(folder).filter((name) => name.includes(".tfevents.")) : [];

/** Options of {@link tensorboard}. */
export interface TensorBoardOptions {
  /** Options of the run for TensorBoard's table of runs (HParams). */
  readonly hyperParameters?: HyperParameters;
}

/**
 * Writes a run for TensorBoard. Give it each event of a run, or give it to {@link Trainer.fit} as a callback. A run that goes on
 * writes a further file, without the steps that the folder's files already hold.
 */
export class TensorBoardLog {
  readonly #folder: string;
  readonly #options: TensorBoardOptions;
  /** The file; undefined until there is something to write. */
  #path: string | undefined;
  /** The last step of each curve in files of the same run. */
  #before: ReadonlyMap<string, number> = new Map();
  #records: Uint8Array[] = [];
  #written = 0;
  /** {@link add}, as a callback of a run. */
  readonly onStepEnd = (event: TrainingEvent): void => this.add(event);
  /** {@link add}, as a callback of a run. */
  readonly onEpochEnd = (event: TrainingEvent): void => this.add(event);
  /** {@link add}, as a callback of a run. */
  readonly onEnd = (event: TrainingEvent): void => this.add(event);

  /** @param folder - is created when the first event arrives */
  constructor(folder: string, options: TensorBoardOptions = {}) {
    checkText("the folder of a TensorBoard log", folder);
    checkKnown("tensorboard", options, { hyperParameters: true });
    this.#folder = folder;
    this.#options = options;
  }

  /**
   * Adds an event of a run. Steps are buffered for up to a second; other events are written at once.
   * @throws SorthError when the file cannot be written
   */
  add(event: TrainingEvent | ObservationEvent): void {
    this.#write(event.step, scalarsOf(event));
    if (event.event !== "step" || Date.now() - this.#written > 1000) this.flush();
  }

  /** Adds the figures of an evaluation, as `test/loss` and so on. @param part - the first part of the curves' names */
  evaluated(part: string, figures: EvaluationResult, step: number): void {
    this.#write(step, evaluationScalars(part, figures));
    this.flush();
  }

  /** Writes buffered steps. */
  flush(): void {
    const path = this.#path;
    if (path === undefined || this.#records.length === 0) return;
    const records = this.#records;
    this.#records = [];
    this.#written = Date.now();
    this.#attempt("write", this.#folder, () => appendFileSync(path, Buffer.concat(records)));
  }

  #write(step: number, scalars: Scalars): void {
    if (scalars.length === 0) return;
    if (this.#path === undefined) this.#begin(step);
    const fresh = scalars.filter(([tag]) => step > (this.#before.get(tag) ?? -1));
    if (fresh.length > 0) this.#records.push(scalarRecord(step, fresh, Date.now() / 1000));
  }

  /** Chooses the file. Files that are there belong to the same run if it goes on after its first step. */
  #begin(step: number): void {
    const folder = this.#folder;
    makeFolder(folder);
    const files = this.#attempt("read", folder, () => eventFilesIn(folder));
    const goesOn = step > 1 && files.length > 0;
    if (goesOn) {
      const all = files.flatMap((name) => {
        const path = join(folder, name);
        return [...lastSteps(this.#attempt("read", path, () => bytesAt(path)))];
      });
      this.#before = all.reduce(
        (last, [tag, at]) => last.set(tag, Math.max(at, last.get(tag) ?? at)),
        new Map<string, number>(),
      );
    }
    const seconds = Date.now() / 1000;
    // TensorBoard reads a folder's files in the order of their names.
    const stem = `events.out.tfevents.${`${Math.floor(seconds)}`.padStart(10, "0")}.${hostname()}.${process.pid}`;
    let number = 0;
    while (files.includes(`${stem}.${number}`)) number += 1;
    this.#path = join(folder, `${stem}.${number}`);
    this.#records.push(firstRecord(seconds));
    const { hyperParameters } = this.#options;
    if (hyperParameters && !goesOn) this.#records.push(hyperParameterRecord(hyperParameters, seconds));
  }

  #attempt<T>(verb: "read" | "write", path: string, act: () => T): T {
    try {
      return act();
    } catch (error) {
      throw new FileError(`cannot ${verb} events for TensorBoard in "${path}": ${messageOf(error)}`);
    }
  }
}

/**
 * Writes a run into a folder that `tensorboard --logdir` reads, in node: loss, penalties and learning rate of each step, figures of each epoch.
 *
 * @example
 * const board = tensorboard("logs/run-1");
 * for await (const event of trainer.fit(train, { epochs: 3, validation: 0.1 })) board.add(event);
 * board.evaluated("test", await trainer.evaluate(test), trainer.steps);
 */
export const tensorboard = (folder: string, options: TensorBoardOptions = {}): TensorBoardLog =>
  new TensorBoardLog(folder, options);

/** Numbers by the name of their curve. */
type Scalars = readonly (readonly [tag: string, value: number])[];

/**
 * The curves of an event: `train/…` after each step (`train/penalty` has no weight, `train/penalty/NAME` is what a penalty adds to the loss),
 * `epoch/…` and `validation/…` after each epoch, `angles/…` where a run measures them.
 */
function scalarsOf(event: TrainingEvent | ObservationEvent): Scalars {
  if (event.event === "step") {
    const { loss, penalty, penalties, penaltyShare, learningRate } = event;
    const names = Object.keys(penalties);
    return [
      ["train/loss", loss],
      ...(names.length === 0
        ? []
        : ([
            ["train/penalty", penalty],
            ["train/penalty_share", penaltyShare],
          ] as const)),
      ...names.map((name) => [`train/penalty/${name}`, penalties[name] ?? Number.NaN] as const),
      ["train/learning_rate", learningRate],
    ];
  }
  if (event.event === "epoch") {
    const { epoch, loss, penalty, penalties, samplesPerSecond, epochSeconds, validation } = event;
    return [
      ["epoch/number", epoch],
      ["epoch/loss", loss],
      ...(Object.keys(penalties).length === 0 ? [] : [["epoch/penalty", penalty] as const]),
      ["epoch/seconds", epochSeconds],
      ["epoch/samples_per_second", samplesPerSecond],
      ...(validation ? evaluationScalars("validation", validation) : []),
    ];
  }
  return event.event === "angles" ? angleScalars(event) : [];
}

/** The curves of an evaluation: `validation/loss`, `validation/accuracy`, and each further figure by its name. */
function evaluationScalars(
  part: string,
  { samples: _, metrics = {}, ...figures }: EvaluationResult,
): Scalars {
  return Object.entries({ ...metrics, ...figures }).flatMap(([name, value]) =>
    typeof value === "number" ? [[`${part}/${name}`, value] as const] : [],
  );
}

const angleScalars = ({ layers }: AnglesEvent): Scalars =>
  layers.flatMap(({ name, weights, responses }) =>
    Object.entries({ weights, responses }).flatMap(([of, angles]) =>
      angles === undefined
        ? []
        : (["mean", "spread"] as const).map((key) => [`angles/${name}/${of}_${key}`, angles[key]] as const),
    ),
  );
