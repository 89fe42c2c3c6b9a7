/** Milliseconds of work over which a speed is averaged. */
const span = 1000;

/**
 * Steps per second of a run's own work, without the time it waits for the other run. One call may do several steps, so that
 * one step takes long and the next ones no time: only whole spans count.
 */
export class Speed {
  #rate = 0;
  #steps = 0;
  #time = 0;

  /** Counts a step. @param milliseconds - time spent waiting for it */
  add(milliseconds: number): void {
    this.#steps += 1;
    this.#time += milliseconds;
    if (this.#time < span) return;
    this.#rate = (1000 * this.#steps) / this.#time;
    this.#steps = 0;
    this.#time = 0;
  }

  /** Speed of the last whole span; before its end, of the steps so far; 0 without any. */
  get stepsPerSecond(): number {
    if (this.#rate > 0) return this.#rate;
    return this.#time > 0 ? (1000 * this.#steps) / this.#time : 0;
  }
}
