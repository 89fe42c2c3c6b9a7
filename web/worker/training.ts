import { missingWebGpu, onDeviceLost } from "../../src/runtime/gpu-device-web.ts";
import { Trainer } from "../../src/web.ts";
import type { StepPoint } from "../history.ts";
import { type BackendName, type Report, type RunName, runNames, type SomeRuns } from "../protocol.ts";
import { Keeper, type RunParts } from "./keeper.ts";
import { runFolder } from "./kept-run.ts";
import { measure } from "./measure.ts";
import { messageOf } from "./message-of.ts";
import { RunPair, runsOf, trainersOf } from "./run-pair.ts";
import { nextTask, Turns } from "./turns.ts";

type Tell = (report: Report) => void;

/** Milliseconds between reports of steps. */
const reportEvery = 100;
/** Measuring takes at most a third of the time, and happens at most twice a second. */
const measureEvery = { least: 500, share: 2 };

/** The current pair of runs: trains, measures, saves, and reports. */
export class Training {
  readonly #pair: RunPair;
  readonly #parts: RunParts;
  readonly #keeper: Keeper;
  readonly #tell: Tell;
  /** A trainer does one thing at a time. */
  readonly #turns = new Turns();
  #layer: string | undefined;
  #paused = false;
  #stopped = false;
  #wake: () => void = () => {};
  #points: Record<RunName, StepPoint[]> = { plain: [], som: [] };
  #reported = 0;
  #measuredAt = 0;
  #measuredIn = 0;
  readonly #measuredStep: Partial<Record<RunName, number>> = {};
  readonly #failures: string[] = [];

  private constructor(pair: RunPair, parts: RunParts, keeper: Keeper, tell: Tell) {
    this.#pair = pair;
    this.#parts = parts;
    this.#keeper = keeper;
    this.#tell = tell;
    this.#layer = parts.opened.inspection.sites[0]?.name;
  }

  /**
   * Creates the trainers. If WebGPU cannot be used, sends a message and uses WebAssembly.
   * @param resumed - continues the kept run
   */
  static async begin(parts: RunParts, resumed: boolean, tell: Tell): Promise<Training> {
    const { settings, opened, data, history } = parts;
    const notice = (message: string) => tell({ type: "notice", message });
    const remarks = new Set<string>();
    const remark = (message: string) => {
      if (!remarks.has(message)) notice(message);
      remarks.add(message);
    };
    const resume = (backend: BackendName) =>
      trainersOf(runsOf(settings), (name) => Trainer.resume(`${runFolder}/${name}`, { backend }));
    const make = (backend: BackendName): Promise<SomeRuns<Trainer>> =>
      resumed ? resume(backend) : RunPair.trainers(opened, { ...settings, backend }, remark);
    let trainers: SomeRuns<Trainer>;
    if (settings.backend === "webgpu") {
      try {
        const missing = await missingWebGpu();
        if (missing !== undefined) throw new Error(missing);
        trainers = await make("webgpu");
        onDeviceLost((reason) =>
          tell({ type: "broken", lost: true, message: `the GPU was lost${reason && ` (${reason})`}` }),
        );
      } catch (error) {
        notice(`training on WebAssembly, because WebGPU cannot be used: ${messageOf(error)}`);
        trainers = await make("wasm");
      }
    } else trainers = await make("wasm");
    for (const name of runNames) history.truncate(name, trainers[name]?.steps ?? 0);
    const pair = new RunPair(trainers, data.train, settings);
    return new Training(pair, parts, await Keeper.begin(parts, { fresh: !resumed }, notice), tell);
  }

  get layer(): string | undefined {
    return this.#layer;
  }

  /** Trains to the end, or until {@link stop}. */
  async run(): Promise<void> {
    this.#phase("running");
    await this.#turn(() => this.#measureAll());
    while (!this.#pair.done && !this.#stopped) {
      await nextTask();
      if (this.#paused && this.#pair.level) await this.#sleep();
      else await this.#turn(() => this.#step());
    }
    if (this.#stopped) return;
    await this.#turn(() => this.#settle());
    if (this.#failures.length === this.#pair.names.length) this.#phase("failed", this.#failures.join("; "));
    else this.#phase("finished");
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#wake();
  }

  /** Saves the run now. */
  save(): Promise<void> {
    return this.#turn(() => this.#keeper.keep(this.#pair, this.#parts));
  }

  /** Chooses the layer whose cosines are shown. */
  async showLayer(layer: string): Promise<void> {
    this.#layer = layer;
    if (this.#paused || this.#pair.done) await this.#turn(() => this.#measureAll());
  }

  /** What the run was begun with. */
  get parts(): RunParts {
    return this.#parts;
  }

  /** Lends the trainer of one run to `use`; the only run's if that one is not trained. */
  withTrainer<T>(run: RunName, use: (trainer: Trainer) => Promise<T>): Promise<T> {
    return this.#turn(async () => {
      const trainer = this.#pair.trainer(run) ?? this.#pair.trainer(this.#pair.names[0] ?? "plain");
      if (!trainer) throw new Error("there is no run");
      return use(trainer);
    });
  }

  /** Ends both runs and frees their sessions. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    await this.#turn(() => this.#pair.release());
  }

  #turn<T>(work: () => Promise<T>): Promise<T> {
    return this.#turns.take(work);
  }

  #phase(phase: "running" | "paused" | "finished" | "failed", message = ""): void {
    this.#tell({ type: "phase", phase, message });
  }

  async #step(): Promise<void> {
    if (this.#stopped) return;
    await this.#pair.advance({
      step: (run, point) => this.#points[run].push(point),
      stopped: (run, message) => {
        this.#failures.push(`${run}: ${message}`);
        this.#tell({ type: "run-stopped", run, message });
      },
    });
    if (performance.now() - this.#reported > reportEvery) this.#report();
    if (!this.#pair.level || !this.#pair.settled) return;
    const pause = Math.max(measureEvery.least, measureEvery.share * this.#measuredIn);
    if (performance.now() - this.#measuredAt > pause) await this.#measureAll();
    if (this.#keeper.isDue) await this.#keeper.keep(this.#pair, this.#parts);
  }

  async #sleep(): Promise<void> {
    await this.#turn(() => this.#settle());
    if (!this.#paused || this.#stopped) return;
    this.#phase("paused");
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    if (!this.#stopped) this.#phase("running");
  }

  /** Updates the page to the runs' current state, and saves them. */
  async #settle(): Promise<void> {
    this.#report();
    const { steps } = this.#pair.progress;
    if (this.#pair.names.some((name) => this.#measuredStep[name] !== steps[name])) await this.#measureAll();
    await this.#keeper.keep(this.#pair, this.#parts);
  }

  #report(): void {
    const { history } = this.#parts;
    const points = this.#points;
    this.#points = { plain: [], som: [] };
    for (const name of runNames) history.addSteps(name, points[name]);
    this.#tell({ type: "steps", points, progress: this.#pair.progress });
    this.#reported = performance.now();
  }

  async #measureAll(): Promise<void> {
    const { opened, settings, data, history } = this.#parts;
    const began = performance.now();
    for (const name of this.#pair.names) {
      const trainer = this.#pair.trainer(name);
      if (!trainer) continue;
      const measured = { opened, settings, test: data.test, layer: this.#layer };
      const measurement = await measure(name, trainer, measured);
      history.addTest(name, measurement.test);
      this.#measuredStep[name] = measurement.test.step;
      this.#tell({ type: "measured", measurement });
    }
    this.#measuredAt = performance.now();
    this.#measuredIn = this.#measuredAt - began;
  }
}
