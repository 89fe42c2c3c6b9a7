/** Lets waiting messages be handled: resolves in a task of its own, without the delay of a timer. */
export function nextTask(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(undefined);
  });
}

/**
 * Gives exclusive turns: each piece of work begins when the one before it has ended, successfully or not.
 *
 * @example
 * const turns = new Turns();
 * await Promise.all([turns.take(step), turns.take(save)]); // step, then save
 */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  take<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn.catch(() => {});
    return turn;
  }
}
