import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "vitest";
import { writeModel } from "../../src/index.ts";
import { npz } from "../cli/npz.ts";
import { cli, temporaryFolder } from "../cli/run-cli.ts";
import { smallModel } from "./small-model.ts";

/** The Python in which runs are started; empty where none was named. */
export const python = process.env.SORTH_PYTHON ?? "";
/** Why a test without that Python is skipped. */
export const missingPython =
  python === "" ? "no Python with onnxruntime and torch was named (SORTH_PYTHON)" : "";

/** A line of `run.jsonl`. */
export interface Line {
  readonly event: string;
  readonly step: number;
  readonly loss: number;
  readonly validation?: { readonly loss: number; readonly accuracy: number };
  readonly stopped?: string;
  readonly kind?: string;
  readonly skipped?: boolean;
  readonly lossScale?: number;
  readonly learningRate?: number;
}

/** torchrun for processes of this machine, which meet at a port that the system chooses: other runs may have the usual one. */
export const standalone = ["-m", "torch.distributed.run", "--standalone"];

/** Runs of `train` and of workers in a folder of their own, with a small model and 96 samples of 3 classes. */
export class PythonRuns {
  readonly #folder = temporaryFolder();
  readonly path = this.#folder.path;
  readonly remove = this.#folder.remove;

  readonly at = (name: string): string => join(this.path, name);

  /** Writes `model.onnx` and `data.npz`. */
  async begin(): Promise<void> {
    await writeModel(smallModel(), this.at("model.onnx"));
    const label = (index: number) => (index * 5 + Math.floor(index / 7)) % 3;
    writeFileSync(this.at("data.npz"), npz(96, [6], label));
  }

  readonly lines = (run: string): Line[] =>
    readFileSync(this.at(`${run}/run.jsonl`), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Line);

  /** The losses of the steps of runs that follow each other. */
  readonly losses = (...runs: string[]): number[] =>
    runs.flatMap((run) => this.lines(run).flatMap(({ event, loss }) => (event === "step" ? [loss] : [])));

  /** Does a distributed run: in one process, or several under torchrun. */
  readonly runPython = async (dir: string, processes: number, ...flags: string[]): Promise<string> => {
    const torchrun = [...standalone, "--nproc-per-node", `${processes}`];
    const words = [this.at(`${dir}/run.py`), "--quiet", ...flags];
    const all = [...(processes === 1 ? [] : torchrun), ...words];
    return (await start(python, all, { cwd: this.path })).stdout;
  };
}

/** Starts a program and waits for its end. */
export const start = promisify(execFile);

/** Runs the command line, which is to succeed. */
export async function sorth(...argv: string[]): Promise<void> {
  const { code, stderr } = await cli(...argv);
  expect({ code, errors: stderr.match(/.*error.*/) }).toEqual({ code: 0, errors: null });
}

export function expectNear(actual: readonly number[], expected: readonly number[], tolerance: number): void {
  expect(actual).toHaveLength(expected.length);
  expect(Math.max(...actual.map((value, i) => Math.abs(value - (expected[i] ?? 0))))).toBeLessThan(tolerance);
}

/** The flags of a run of `train` that says nothing and leaves no report. */
export const quiet = ["--no-report", "--quiet"];
