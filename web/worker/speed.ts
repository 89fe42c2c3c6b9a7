/** Milliseconds of work over which a speed is a mean. */
const span = 1000;

/**
 * Steps a second of work: what a run needs for itself, without waiting for the other one. Several steps may be done in one
 * go, so that one takes long and the next ones nothing: only whole spans count.
 */
export class Speed {
  #rate = 0;
  #steps = 0;
  #time = 0;

  /** A step was done. @param milliseconds - that were waited for it */
  add(milliseconds: number): void {
    this.#steps += 1;
    this.#time += milliseconds;
    if (this.#time < span) return;
    this.#rate = (1000 * this.#steps) / this.#time;
    this.#steps = 0;
    this.#time = 0;
  }

  /** Of the last whole span; before there is one, of the steps so far; 0 without any. */
  get stepsPerSecond(): number {
    if (this.#rate > 0) return this.#rate;
    return this.#time > 0 ? (1000 * this.#steps) / this.#time : 0;
  }
}
