// A process of the pool: gets runs, trains them one after the other, answers with what came of each.
import { type Outcome, type TrainingRun, train } from "./training-run.ts";

/** What a worker is asked. */
export interface Request {
  readonly id: number;
  readonly run: TrainingRun;
}

/** What it answers. */
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
