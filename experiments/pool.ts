import { type ChildProcess, fork } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import type { Outcome, TrainingRun } from "./training-run.ts";
import type { Reply, Request } from "./worker.ts";

/** Trains runs in one single-threaded process per core. The outcomes do not depend on how runs are distributed. */
export class Pool {
  readonly #idle: ChildProcess[] = [];
  readonly #workers: ChildProcess[];
  readonly #waiting: { readonly request: Request; readonly settle: (reply: Reply) => void }[] = [];
  #count = 0;
  #done = 0;

  readonly #tell: (done: number, of: number) => void;

  /** @param tell - called after each run with the numbers of finished and requested runs */
  constructor(tell: (done: number, of: number) => void, processes = availableParallelism()) {
    this.#tell = tell;
    const worker = fileURLToPath(new URL("worker.ts", import.meta.url));
    this.#workers = Array.from({ length: processes }, () =>
      fork(worker, { execArgv: ["--import", "tsx"], serialization: "advanced" }),
    );
    this.#idle.push(...this.#workers);
  }

  /** Trains one run. @throws Error that names the run and its problem */
  async train(run: TrainingRun): Promise<Outcome> {
    const request = { id: this.#count++, run };
    const reply = await new Promise<Reply>((settle) => {
      this.#waiting.push({ request, settle });
      this.#next();
    });
    this.#tell(++this.#done, this.#count);
    if ("problem" in reply) throw new Error(`${JSON.stringify(run)}: ${reply.problem}`);
    return reply.outcome;
  }

  /** Trains all runs, in any order; returns the outcomes in the given order. */
  all(runs: readonly TrainingRun[]): Promise<Outcome[]> {
    return Promise.all(runs.map((run) => this.train(run)));
  }

  /** Stops the processes. */
  close(): void {
    for (const worker of this.#workers) worker.kill();
  }

  #next(): void {
    const worker = this.#idle.pop();
    if (!worker) return;
    const job = this.#waiting.shift();
    if (!job) {
      this.#idle.push(worker);
      return;
    }
    const settle = (reply: Reply) => {
      worker.off("message", settle);
      worker.off("exit", ended);
      job.settle(reply);
      this.#idle.push(worker);
      this.#next();
    };
    const ended = (code: number | null, signal: string | null) =>
      job.settle({ id: job.request.id, problem: `its process ended (${signal ?? code})` });
    worker.on("message", settle);
    worker.on("exit", ended);
    worker.send(job.request);
  }
}
