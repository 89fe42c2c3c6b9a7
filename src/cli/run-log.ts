import { appendFileSync, existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { FileError } from "../errors.ts";
import type { EpochEvent, EvaluationResult } from "../index.ts";
import { parsedJson } from "../json.ts";
import { textAt } from "../onnx/read-file.ts";
import { makeFolder, reasonOf } from "../onnx/write-file.ts";
import { visible } from "../visible.ts";

/** Writes `run.jsonl`, one event per line, as events arrive. Creates the folder and the file with the first event. */
export class RunLog {
  readonly #path: string;
  readonly #folder: string;
  #started: boolean;
  #lines: string[] = [];
  #written = 0;

  /** @param resumed - append to the existing file instead of replacing it */
  constructor(folder: string, resumed: boolean) {
    this.#folder = folder;
    this.#path = join(folder, "run.jsonl");
    this.#started = resumed;
    // A killed run may have left half a line: start on a new one.
    if (resumed && existsSync(this.#path) && !/(^|\n)$/.test(logIn(this.#path).slice(-1))) {
      this.#lines.push("\n");
    }
  }

  /** Whether the file is there: with the first event, or from the run that is resumed. */
  get hasBegun(): boolean {
    return this.#started;
  }

  /**
   * Adds an event. Steps are buffered for up to a second; other events are written immediately.
   * @returns "begun" if this event created the file
   */
  add(event: { readonly event: string }): "begun" | undefined {
    const started = this.#started;
    this.#lines.push(`${visible(JSON.stringify(event))}\n`);
    if (event.event !== "step" || Date.now() - this.#written > 1000) this.flush();
    return started === this.#started ? undefined : "begun";
  }

  /** Writes buffered events. @throws SorthError when they cannot be written; they are kept */
  flush(): void {
    if (this.#lines.length === 0) return;
    const text = this.#lines.join("");
    try {
      if (this.#started) appendFileSync(this.#path, text);
      else {
        makeFolder(this.#folder);
        writeFileSync(this.#path, text);
        this.#started = true;
      }
    } catch (error) {
      throw new FileError(`cannot write "${this.#path}": ${reasonOf(error)}`);
    }
    this.#lines = [];
    this.#written = Date.now();
  }
}

function logIn(path: string): string {
  try {
    return textAt(path);
  } catch (error) {
    throw new FileError(`cannot read "${path}": ${reasonOf(error)}`);
  }
}

/** The figures on held-out samples after the epoch that ended with a step, from `run.jsonl`; undefined if none did. */
export function validationAt(folder: string, step: number): EvaluationResult | undefined {
  const lines = logIn(join(folder, "run.jsonl")).split("\n");
  for (const line of lines.reverse()) {
    if (!line.startsWith('{"event":"epoch"')) continue;
    // Half a line, which a killed process leaves, is no event.
    const event = parsedJson(line) as EpochEvent | undefined;
    if (event?.step === step) return event.validation;
  }
  return undefined;
}
