import { Tensor } from "../../src/onnx/tensor.ts";
import type { Optimizer } from "../../src/optimizers/optimizer.ts";
import { drawn } from "../../src/penalties/draws.ts";
import type { Step } from "../../src/programs/step.ts";
import { cpuBackend } from "../../src/runtime/cpu-node.ts";
import type { StepResult, StepSession } from "../../src/runtime/step-session.ts";

/** Puts the gradient in the parameter's place: a step with it shows the gradients. */
export const gradientItself: Optimizer = {
  name: "gradient",
  options: {},
  slots: [],
  update: (_, { gradient }) => ({ parameter: gradient, slots: [] }),
  reference: ({ gradient }) => ({ parameter: [...gradient], slots: [] }),
};

/** Runs a step graph on onnxruntime-node's CPU with one thread, on batches given as plain numbers. */
export class StepRunner {
  readonly step: Step;
  readonly #session: StepSession;
  #count = 0;

  private constructor(step: Step, session: StepSession) {
    this.step = step;
    this.#session = session;
  }

  static async create(step: Step): Promise<StepRunner> {
    return new StepRunner(step, await cpuBackend.openStep(step, { threads: 1 }));
  }

  /** One step on a batch. */
  async run(
    x: Float32Array,
    labels: readonly number[],
    options: { learningRate: number; penaltyWeight?: number },
  ): Promise<StepResult> {
    const { inputs, labels: labelPort, scalars, draws, penalties } = this.step.ports;
    const [input] = inputs;
    if (!input || !labelPort) throw new RangeError("the step has no input or no labels");
    const floats = (name: string, shape: readonly number[], numbers: ArrayLike<number>): [string, Tensor] => [
      name,
      scalars.type === "double"
        ? Tensor.of(name, "double", shape, Float64Array.from(numbers))
        : Tensor.float(name, shape, numbers),
    ];
    const feeds = new Map([
      floats(input.name, input.shape, x),
      [labelPort.name, Tensor.of(labelPort.name, "int32", labelPort.shape, Int32Array.from(labels))],
      floats(scalars.learningRate, [], [options.learningRate]),
      floats(scalars.step, [], [++this.#count]),
      ...(scalars.penaltyWeight ? [floats(scalars.penaltyWeight, [], [options.penaltyWeight ?? 1])] : []),
      ...penalties.flatMap(({ schedule }) => (schedule === undefined ? [] : [floats(schedule, [], [1])])),
      // As an injected model has them: the first round.
      ...draws.map((port) => [port.name, Tensor.float(port.name, port.shape, drawn(port))] as const),
    ]);
    const [result] = await this.#session.run(feeds);
    if (!result) throw new RangeError("the session returned no step");
    return result;
  }

  /** Numbers of a parameter or running statistic, by its name in the model. */
  state(name: string): readonly number[] {
    const port = [...this.step.ports.parameters, ...this.step.ports.statistics].find((p) => p.name === name);
    const tensor = port && this.#session.state()?.get(port.input);
    if (!tensor) throw new RangeError(`the step has no state "${name}"`);
    return tensor.numbers();
  }

  async release(): Promise<void> {
    await this.#session.release();
  }
}
