/** Times an epoch: how long it takes, and how long its steps wait for their samples. */
export class EpochClock {
  readonly #began = performance.now();
  #waited = 0;
  #stepsEnded: number | undefined;

  /** Waits for samples, and counts the time. */
  async samples<T>(reading: Promise<T>): Promise<T> {
    const began = performance.now();
    try {
      return await reading;
    } finally {
      this.#waited += performance.now() - began;
    }
  }

  /** The steps are done; what follows is validation. */
  endSteps(): void {
    this.#stepsEnded = performance.now();
  }

  /** Seconds until now. */
  get seconds(): number {
    return (performance.now() - this.#began) / 1000;
  }

  /** The share of the time of the steps that went by before their samples were there, from 0 to 1. */
  get waiting(): number {
    const steps = (this.#stepsEnded ?? performance.now()) - this.#began;
    return steps === 0 ? 0 : Math.min(1, this.#waited / steps);
  }
}
