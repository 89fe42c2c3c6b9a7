import type { Report, Request } from "./protocol.ts";

/** The worker that trains, as the page sees it. It can be ended and started anew when it cannot go on. */
export class TrainingWorker {
  #worker: Worker | undefined;
  readonly #listen: (report: Report) => void;

  constructor(listen: (report: Report) => void) {
    this.#listen = listen;
  }

  /** Starts the worker, or starts it anew: what it held is gone. */
  start(): void {
    this.#worker?.terminate();
    const worker = new Worker(new URL("./worker/main.ts", import.meta.url), { type: "module" });
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<Report>) => {
      // What an ended worker still had to say is of no interest.
      if (worker === this.#worker) this.#listen(data);
    };
    worker.onerror = (event) => {
      if (worker !== this.#worker) return;
      const message = event.message || "its script cannot be loaded";
      this.#listen({ type: "broken", lost: false, message: `the training worker stopped: ${message}` });
    };
    this.send({ type: "begin", base: document.baseURI });
  }

  send(request: Request): void {
    this.#worker?.postMessage(request);
  }
}
