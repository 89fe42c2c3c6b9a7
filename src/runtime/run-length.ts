import { bitsPerElement } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { Step } from "../programs/step.ts";
import type { StepPorts } from "../programs/step-ports.ts";
import type { Backend } from "./step-session.ts";

/** Most steps of a run, where its length is chosen automatically. */
const mostSteps = 32;
/** Most bytes of data in the feeds of one run. */
const mostBytes = 64 * 2 ** 20;
/** Runs grow while they take less than half of this time: the event loop, and with it Ctrl-C, waits for a run to end. */
const longestMilliseconds = 50;
/** Number of single steps after the caller read the state mid-run, before runs grow again. */
const patience = 64;

/**
 * How many steps one run of ONNX Runtime does (DESIGN §5.8). Several steps in a Loop save copying the state in and out, which
 * halves the time of small networks on the CPU; the numbers are the same. With "auto", runs grow from one step on.
 */
export class RunLength {
  /** Most steps of a run; 1 where no Loop is needed. */
  readonly most: number;
  readonly #fixed: boolean;
  #next: number;
  #held = 0;

  /** @param wanted - steps of a run, or "auto" */
  constructor(wanted: number | "auto", backend: Backend, step: Step) {
    this.#fixed = wanted !== "auto";
    if (wanted === "auto") {
      const several = backend.loops && !backend.oneStepARun?.(step);
      this.most = several ? clamp(Math.floor(mostBytes / bytesOfStep(step.ports)), 1, mostSteps) : 1;
      this.#next = 1;
      return;
    }
    this.most = wanted;
    this.#next = wanted;
  }

  /** Steps of the next run. */
  get next(): number {
    return this.#next;
  }

  /** Learns how long a run took. */
  took(milliseconds: number, steps: number): void {
    if (this.#held > 0) {
      this.#held -= 1;
      return;
    }
    if (this.#fixed || steps < this.#next || milliseconds > longestMilliseconds / 2) return;
    this.#next = Math.min(2 * this.#next, this.most);
  }

  /** The caller read the state mid-run, so some steps had to be recomputed. */
  interrupted(): void {
    if (this.#fixed) return;
    this.#next = 1;
    this.#held = patience;
  }
}

const clamp = (value: number, least: number, most: number) => Math.min(Math.max(value, least), most);

const bytesOfStep = ({ inputs, labels, masks, draws }: StepPorts): number =>
  [
    ...[...inputs, ...(labels ? [labels] : []), ...masks],
    ...draws.filter(({ anew }) => anew === "step"),
  ].reduce((sum, { type, shape }) => sum + (elementCount(shape) * bitsPerElement[type]) / 8, 1);
