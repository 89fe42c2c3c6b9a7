import { UsageError } from "../errors.ts";
import { bitsPerElement } from "../onnx/data-types.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { StepPorts } from "../programs/step-ports.ts";
import type { Backend } from "./step-session.ts";

/** Most steps of a run whose length is chosen here. */
const mostSteps = 32;
/** Most bytes of data that the steps of a run are fed together. */
const mostBytes = 64 * 2 ** 20;
/** A run is made longer while it takes less than half of this: the event loop waits for it, and so does Ctrl-C. */
const longestMilliseconds = 50;
/** Single steps after somebody asked for the state between steps, before runs grow again. */
const patience = 64;

/**
 * How many steps one run of ONNX Runtime does (DESIGN §5.8). Several in a Loop save copying the state in and out, which
 * halves the time of small networks on the CPU; the numbers are the same. Unless told, runs grow from one step on.
 */
export class RunLength {
  /** 1 where steps are run one by one: no Loop is needed then. */
  readonly most: number;
  readonly #fixed: boolean;
  #next: number;
  #held = 0;

  /**
   * @param wanted - steps of a run, or "auto"
   * @throws UsageError for a number that is none, or more than one where Loop does not run on the device
   */
  constructor(wanted: number | "auto", backend: Backend, ports: StepPorts) {
    this.#fixed = wanted !== "auto";
    if (wanted === "auto") {
      this.most = backend.loops ? clamp(Math.floor(mostBytes / bytesOfStep(ports)), 1, mostSteps) : 1;
      this.#next = 1;
      return;
    }
    if (!Number.isInteger(wanted) || wanted < 1) {
      throw new UsageError(`the steps of a run are ${wanted}; give a whole number from 1 on, or auto`);
    }
    if (wanted > 1 && !backend.loops) {
      throw new UsageError(
        `${backend.name} does one step a run: ONNX Runtime runs Loop on the CPU there; leave out stepsPerRun (--steps-per-run)`,
      );
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

  /** Somebody asked for the state between the steps of a run, which were done twice for it. */
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
