import type { Report, Request } from "./protocol.ts";

/** The page's handle of the worker that trains. A worker that cannot continue is ended and replaced. */
export class TrainingWorker {
  #worker: Worker | undefined;
  readonly #listen: (report: Report) => void;

  constructor(listen: (report: Report) => void) {
    this.#listen = listen;
  }

  /** Starts a worker. An earlier one is ended, and its models, data and runs are gone. */
  start(): void {
    this.#worker?.terminate();
    const worker = new Worker(new URL("./worker/main.ts", import.meta.url), { type: "module" });
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<Report>) => {
      // Messages of an ended worker are ignored.
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
