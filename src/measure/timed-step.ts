import type { Probe } from "../analysis/probe.ts";
import { namedDataset, type SampleArray } from "../data/array-dataset.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Model } from "../onnx/model.ts";
import { elementCount } from "../onnx/tensor.ts";
import type { Step } from "../programs/step.ts";
import { batchOf, type DataPort, type StepPorts } from "../programs/step-ports.ts";
import { Random } from "../random.ts";
import { checkRuns, openStep } from "../runtime/open-step.ts";
import { OwnEvaluation } from "../runtime/own-evaluation.ts";
import type { RunLength } from "../runtime/run-length.ts";
import { runOptions } from "../runtime/run-options.ts";
import { StepFeeder } from "../runtime/step-feeds.ts";
import { scalarsOfSteps } from "../runtime/step-scalars.ts";
import type { Backend, StepSession } from "../runtime/step-session.ts";
import { type TimedOptions, timedOptions } from "../runtime/timed-options.ts";
import type { TrainerOptions } from "../runtime/trainer-options.ts";

/** What a {@link TimedStep} is opened with. */
export interface TimedStepParts {
  readonly backend: Backend;
  readonly probe: Probe;
  /** Default: random samples. */
  readonly dataset?: Dataset | undefined;
  /** Beginning of the file for ONNX Runtime's measurement of each operator. */
  readonly profile?: string;
}

/** A training step on one backend, run again and again on the same batches as the trainer runs it. */
export class TimedStep {
  readonly #step: Step;
  readonly #options: TimedOptions;
  readonly #length: RunLength;
  readonly #session: StepSession;
  readonly #feeder: StepFeeder;
  #done = 0;
  /** The loss of the last step. */
  loss = Number.NaN;

  private constructor(
    step: Step,
    options: TimedOptions,
    parts: { readonly length: RunLength; readonly session: StepSession; readonly feeder: StepFeeder },
  ) {
    this.#step = step;
    this.#options = options;
    this.#length = parts.length;
    this.#session = parts.session;
    this.#feeder = parts.feeder;
  }

  /** @throws SorthError where the backend's device is missing or does not run the step */
  static async open(
    model: Model,
    given: TrainerOptions,
    { backend, probe, dataset, profile }: TimedStepParts,
  ): Promise<TimedStep> {
    const { options, mixup, taught } = await runOptions(model, given);
    await checkRuns(backend, options);
    const own = { ...options, ...(profile !== undefined && { profile }) };
    const { step, length, session } = await openStep(model, own, backend, probe);
    if (dataset) {
      const of = { ports: step.ports, probe, backend, taught };
      await new OwnEvaluation(model, options, of).check(dataset);
    }
    const samples = length.most * batchOf(step.ports);
    const data = dataset ?? randomDataset(step.ports, samples);
    const { normalize, seed = 0 } = options;
    const feeder = new StepFeeder(step.ports, data, seed, { batches: length.most, normalize, mixup });
    await feeder.fill(
      Uint32Array.from({ length: samples }, (_, i) => i % data.size),
      0,
    );
    return new TimedStep(step, await timedOptions(options), { length, session, feeder });
  }

  /** Samples in a step. */
  get batch(): number {
    return batchOf(this.#step.ports);
  }

  /** Steps in a run of ONNX Runtime. */
  get stepsPerRun(): number {
    return this.#length.next;
  }

  /** Runs until ONNX Runtime has done its first work and runs have their final length. */
  async warmUp(): Promise<void> {
    for (let runs = 0, before = 0; runs < 3 || before !== this.stepsPerRun; runs++) {
      before = this.stepsPerRun;
      await this.#run();
    }
  }

  /** Does whole runs for some time. @returns milliseconds per step */
  async time(milliseconds: number): Promise<number> {
    const began = performance.now();
    const before = this.#done;
    do await this.#run();
    while (performance.now() - began < milliseconds);
    return (performance.now() - began) / (this.#done - before);
  }

  release(): Promise<void> {
    return this.#session.release();
  }

  async #run(): Promise<void> {
    const done = this.#done + this.stepsPerRun;
    const of = { position: { step: this.#done }, done, epoch: 0, totalSteps: Number.MAX_SAFE_INTEGER };
    const scalars = scalarsOfSteps(this.#step, this.#options, { ...of, run: { stepsPerEpoch: 1 } });
    const began = performance.now();
    const results = await this.#session.run(this.#feeder.feeds(scalars));
    this.#length.took(performance.now() - began, scalars.length);
    this.#done = done;
    this.loss = results.at(-1)?.loss ?? Number.NaN;
  }
}

/**
 * Random samples that fit a step: normal floats, integers 0 and 1 (also for labels and tokens: every model has these two), shares for labels in
 * floats; masks are 1 everywhere.
 */
function randomDataset(ports: StepPorts, size: number): Dataset {
  const { inputs, labels } = ports;
  const random = new Random("benchmark");
  const batch = batchOf(ports);
  const array = ({ name, type, shape, batchAxis = 0 }: DataPort, isTarget: boolean): SampleArray => {
    // Scores [samples · places, classes] have labels for several rows of each sample.
    const own = shape.flatMap((dim, axis) => (axis !== batchAxis ? [dim] : dim > batch ? [dim / batch] : []));
    const count = size * elementCount(own);
    const isFloat = type === "float" || type === "double" || type === "float16" || type === "bfloat16";
    const isMask = /mask/i.test(name);
    if (isFloat) {
      const draw = () => (isMask ? 1 : isTarget ? random.uniform() : random.normal());
      return { data: Float32Array.from({ length: count }, draw), shape: own };
    }
    return { data: Int32Array.from({ length: count }, () => (isMask ? 1 : random.integer(2))), shape: own };
  };
  return namedDataset({
    name: "random data",
    inputs: Object.fromEntries(inputs.map((port) => [port.name, array(port, false)])),
    ...(labels && !labels.own && { labels: array(labels, true) }),
  });
}
