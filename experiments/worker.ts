// A process of the pool: receives runs, trains them one after another, and replies with their outcomes.
import { type Outcome, type TrainingRun, train } from "./training-run.ts";

/** A request to a worker. */
export interface Request {
  readonly id: number;
  readonly run: TrainingRun;
}

/** A worker's reply. */
export type Reply =
  | { readonly id: number; readonly outcome: Outcome }
  | { readonly id: number; readonly problem: string };

process.on("message", async ({ id, run }: Request) => {
  let reply: Reply;
  try {
    reply = { id, outcome: await train(run) };
  } catch (error) {
    reply = { id, problem: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  process.send?.(reply);
});
