import { UsageError } from "../errors.ts";
import type { Tensor } from "../onnx/tensor.ts";
import type { AverageKind } from "../optimizers/averages.ts";
import { initialTensors } from "../programs/initial-state.ts";
import { modelPorts } from "../programs/state-layout.ts";
import type { Step } from "../programs/step.ts";
import type { StepPorts } from "../programs/step-ports.ts";
import { sessionTensors, stateOf, type TrainerState, weightsOf } from "../programs/trainer-state.ts";
import { type Position, startPosition } from "./run-position.ts";
import type { StoredRun } from "./stored-run.ts";
import type { TrainingSession } from "./training-session.ts";

/** Where a run stands, its state there, and the earlier state that it can return to. */
export class RunState {
  readonly #step: Step;
  readonly #session: TrainingSession;
  /** The ports of the state in the model's form, which it has everywhere outside the session. */
  readonly ports: StepPorts;
  #position: Position = startPosition();
  #takenOver: Partial<TrainerState> = {};
  /** The checkpoint that was read: the last resort when a state has to be restored. */
  #start: Pick<StoredRun, "tensors" | "position"> | undefined;

  constructor(step: Step, session: TrainingSession) {
    this.#step = step;
    this.#session = session;
    this.ports = modelPorts(step.ports);
  }

  /** The loop of a fit advances it. */
  get position(): Position {
    return this.#position;
  }

  /** @throws SorthError between the steps of an epoch, when the session may hold newer numbers */
  read(): TrainerState {
    const { step, before = 0 } = this.#position;
    return stateOf(this.#step.ports, this.#held(), before + step);
  }

  /** Copies of the weights alone ({@link weightsOf}), a third of Adam's state. @throws SorthError as {@link read} does */
  weights(average: AverageKind | undefined): ReadonlyMap<string, Tensor> {
    return weightsOf(this.#step.ports, this.#held(), average);
  }

  #held(): ReadonlyMap<string, Tensor> {
    const state = this.#session.state();
    if (state) return state;
    throw new UsageError(
      `the state of step ${this.#position.step} is not at hand: await trainer.readState() first, or ask after an epoch`,
    );
  }

  /** Takes over the state of another run. @throws UsageError for a tensor that this run lacks or has in another shape */
  takeOver(state: Partial<TrainerState>): void {
    this.#session.restore(sessionTensors(this.ports, state));
    this.#takenOver = { ...this.#takenOver, ...state };
    if (state.updates !== undefined) this.#position.before = state.updates - this.#position.step;
  }

  /** Goes to a checkpoint. @throws SorthError for that of another run */
  async goTo({ where, tensors, position }: StoredRun): Promise<void> {
    const { checkWholeState } = await import("../programs/whole-state.ts");
    checkWholeState(this.ports, tensors, where);
    this.#session.restore(tensors);
    this.#position = { ...position };
    this.#start = { tensors, position };
  }

  /** Restores the checkpoint that was read, or the initial state. Returns a description of it for a message. */
  restore(): string {
    if (this.#start) {
      this.#session.restore(this.#start.tensors);
      this.#position = { ...this.#start.position };
      return `of step ${this.#position.step}`;
    }
    this.#session.restore(initialTensors({ ...this.#step, ports: this.ports }));
    this.#position = startPosition();
    this.takeOver(this.#takenOver);
    return "at the beginning";
  }
}
