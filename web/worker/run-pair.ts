import { type Dataset, Trainer, type TrainingEvent } from "../../src/web.ts";
import type { StepPoint } from "../history.ts";
import { type Progress, type RunName, runNames, type Settings, type SomeRuns } from "../protocol.ts";
import { messageOf } from "./message-of.ts";
import type { OpenedModel } from "./open-model.ts";
import { runOptions } from "./run-options.ts";
import { Speed } from "./speed.ts";

/** One of the two runs. */
interface Run {
  readonly name: RunName;
  readonly trainer: Trainer;
  readonly events: AsyncGenerator<TrainingEvent, void, undefined>;
  readonly speed: Speed;
  done: boolean;
}

/** Receives the events of a pair. */
export interface PairListener {
  step(run: RunName, point: StepPoint): void;
  /** A run cannot continue. */
  stopped(run: RunName, message: string): void;
}

/** The runs that the settings ask for. */
export const runsOf = ({ runs }: Settings): readonly RunName[] =>
  runNames.filter((name) => runs?.includes(name) ?? true);

/**
 * One run, or two that advance together: the one that is behind does the next step. Each has its own trainer, and both use the same
 * batches in the same order.
 */
export class RunPair {
  readonly #runs: readonly Run[];
  readonly #epochs: number;
  readonly #totalSteps: number;

  constructor(trainers: SomeRuns<Trainer>, train: Dataset, { epochs }: Settings) {
    this.#epochs = epochs;
    this.#runs = runNames.flatMap((name) => {
      const trainer = trainers[name];
      if (!trainer) return [];
      return [{ name, trainer, events: trainer.fit(train, { epochs }), speed: new Speed(), done: false }];
    });
    const [first] = this.#runs;
    this.#totalSteps = first ? first.trainer.steps + first.trainer.stepsLeft(train, { epochs }) : 0;
  }

  /** Creates the trainers of the runs. @throws SorthError as `Trainer.create` does */
  static trainers(opened: OpenedModel, settings: Settings, tell: (text: string) => void) {
    const names = runsOf(settings);
    return trainersOf(names, (name) => {
      // Both trainers send the same remarks, and the penalized one some more: only the last one's are passed on.
      const onMessage = (message: string) => {
        if (name === names.at(-1)) tell(message);
      };
      const options = { ...runOptions(name, opened, settings), onMessage };
      return opened.rescued
        ? Trainer.rescue(opened.rescued[name], options)
        : Trainer.create(opened.models[name], options);
    });
  }

  get names(): readonly RunName[] {
    return this.#runs.map(({ name }) => name);
  }

  get progress(): Progress {
    const each = (figure: (run: Run) => number) =>
      Object.fromEntries(this.#runs.map((run) => [run.name, figure(run)])) as SomeRuns<number>;
    return {
      steps: each(({ trainer }) => trainer.steps),
      totalSteps: this.#totalSteps,
      epochs: this.#epochs,
      stepsPerSecond: each(({ speed }) => speed.stepsPerSecond),
      backend: this.#runs[0]?.trainer.backend ?? "",
    };
  }

  /** Whether all unfinished runs have done the same number of steps. The worker measures, saves and pauses only then. */
  get level(): boolean {
    const going = this.#runs.filter(({ done }) => !done);
    return new Set(going.map(({ trainer }) => trainer.steps)).size <= 1;
  }

  /** Whether measuring now makes neither run repeat steps. */
  get settled(): boolean {
    return this.#runs.every(({ trainer }) => trainer.settled);
  }

  /** Whether both runs have ended. */
  get done(): boolean {
    return this.#runs.every(({ done }) => done);
  }

  /** The trainer of a run; undefined if that one is not trained. */
  trainer(name: RunName): Trainer | undefined {
    return this.#runs.find((run) => run.name === name)?.trainer;
  }

  /** Does one step of the run that is behind. */
  async advance(listener: PairListener): Promise<void> {
    const open = this.#runs.filter(({ done }) => !done);
    const run = open.reduce((a, b) => (b.trainer.steps < a.trainer.steps ? b : a));
    const began = performance.now();
    try {
      const { value, done } = await run.events.next();
      if (done) run.done = true;
      else if (value.event === "step") {
        run.speed.add(performance.now() - began);
        const { step, loss, penalty } = value;
        listener.step(run.name, { step, loss, penalty });
      }
    } catch (error) {
      run.done = true;
      listener.stopped(run.name, messageOf(error));
    }
  }

  /** Stops both runs; their state stays readable until {@link release}. */
  async stop(): Promise<void> {
    for (const { events } of this.#runs) await events.return(undefined).catch(() => {});
  }

  async release(): Promise<void> {
    await this.stop();
    for (const { trainer } of this.#runs) await trainer.release().catch(() => {});
  }
}

/** Makes trainers one after the other. If one fails, those before it are released. */
export async function trainersOf(
  names: readonly RunName[],
  make: (name: RunName) => Promise<Trainer>,
): Promise<SomeRuns<Trainer>> {
  const made: Partial<Record<RunName, Trainer>> = {};
  try {
    for (const name of names) made[name] = await make(name);
  } catch (error) {
    for (const trainer of Object.values(made)) await trainer.release();
    throw error;
  }
  return made;
}
