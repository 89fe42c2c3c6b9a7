import type { StepResult } from "./step-session.ts";

/** How far a run is; what a checkpoint keeps of it, as JSON. */
export interface Position {
  step: number;
  /** Updates that were done before this run began, by another one whose state it took over. */
  before?: number;
  /** Sums over the epoch that is under way. */
  loss: number;
  penalty: number;
  counted: number;
  bestLoss: number | null;
}

/** Where every run begins. */
export const startPosition = (): Position => ({ step: 0, loss: 0, penalty: 0, counted: 0, bestLoss: null });

/** Counts a step that was done. */
export function advance(position: Position, { loss, penalty }: StepResult): void {
  position.step += 1;
  position.loss += loss;
  position.penalty += penalty;
  position.counted += 1;
}

/** Mean loss and penalty of the epoch that is under way. */
export const meanOf = ({ loss, penalty, counted }: Position) => ({
  loss: loss / Math.max(counted, 1),
  penalty: penalty / Math.max(counted, 1),
});
