import type { InferenceSession, Tensor as OrtTensor, TensorConstructor } from "onnxruntime-common";
import { messageOf } from "../errors.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { initialNumbers, zeros } from "../programs/initial-state.ts";
import type { Step } from "../programs/step.ts";
import { figureOutputs, type StatePort, type StepPorts, statePorts } from "../programs/step-ports.ts";
import { checkReplaces, runSession } from "./ort-session.ts";
import { toOrtTensor } from "./ort-tensor.ts";
import { allGood, stepResults } from "./step-results.ts";
import type { StepFeeds, StepResult, StepSession } from "./step-session.ts";
import type { Uncopied } from "./uncopied-outputs.ts";

/** One state tensor in two buffers: a step reads one and writes the other. */
interface Pair {
  readonly port: StatePort;
  readonly own: [Tensor, Tensor];
  readonly ort: [OrtTensor, OrtTensor];
}

/**
 * Keeps the state of onnxruntime-node in the host's memory, in two buffers that are swapped through preallocated outputs:
 * between steps this class allocates only the tensors of the figures and copies no parameter. Without {@link Uncopied}, the binding
 * itself copies the whole state at each step.
 */
export class HostStepSession implements StepSession {
  readonly #session: InferenceSession;
  readonly #pairs: readonly Pair[];
  readonly #ports: StepPorts;
  readonly #uncopied: Uncopied | undefined;
  readonly #OwnTensor: TensorConstructor;
  /** Which of the two buffers holds the state. */
  readonly #turn: { current: 0 | 1 };

  /**
   * @param OwnTensor - onnxruntime-node's own Tensor class. In an ES module, onnxruntime-common's (see {@link toOrtTensor})
   * is another class, and ONNX Runtime silently ignores it as a preallocated output.
   * @param uncopied - for a session of {@link leavingOutputs}
   * @param beside - a session whose state this one shares
   */
  constructor(
    session: InferenceSession,
    step: Step,
    OwnTensor: TensorConstructor,
    uncopied?: Uncopied,
    beside?: StepSession | undefined,
  ) {
    this.#session = session;
    this.#uncopied = uncopied;
    this.#OwnTensor = OwnTensor;
    this.#ports = step.ports;
    if (beside instanceof HostStepSession) {
      const pairs = new Map(beside.#pairs.map((pair) => [pair.port.input, pair]));
      this.#turn = beside.#turn;
      this.#pairs = statePorts(step.ports).flatMap((port) => {
        const pair = pairs.get(port.input);
        return pair ? [{ ...pair, port }] : [];
      });
      return;
    }
    this.#turn = { current: 0 };
    this.#pairs = initialNumbers(step).map(({ port, start }): Pair => {
      const own: [Tensor, Tensor] = [zeros(port), zeros(port)];
      if (start) copy(start, own[0]);
      return { port, own, ort: [this.#shared(own[0]), this.#shared(own[1])] };
    });
  }

  /** The same numbers as a tensor that ONNX Runtime writes to. */
  #shared(tensor: Tensor): OrtTensor {
    const { type, data, dims } = toOrtTensor(tensor);
    return new this.#OwnTensor(type, data as Float32Array, dims);
  }

  async run(feeds: StepFeeds): Promise<StepResult[]> {
    const { current } = this.#turn;
    const next = current === 0 ? 1 : 0;
    const inputs: Record<string, OrtTensor> = {};
    const figures = this.#figures(feeds);
    const outputs: Record<string, OrtTensor | null> = { ...figures };
    for (const [name, tensor] of feeds) inputs[name] = toOrtTensor(tensor);
    for (const { port, ort } of this.#pairs) {
      inputs[port.input] = ort[current];
      outputs[port.output] = ort[next];
    }
    await this.#write(inputs, outputs);
    const results = stepResults(this.#ports, figures);
    if (allGood(results)) this.#turn.current = next;
    return results;
  }

  /** Tensors for the loss and penalties: one number each, or one for every step of a run. */
  #figures(feeds: StepFeeds): Record<string, OrtTensor> {
    const { step, type } = this.#ports.scalars;
    const shape = feeds.get(step)?.dims ?? [];
    const figures = figureOutputs(this.#ports).map((input) => zeros({ input, type, shape }));
    return Object.fromEntries(figures.map((figure) => [figure.name, this.#shared(figure)]));
  }

  /** Runs the session, which writes to the given outputs. The copies that it may return are not read. */
  async #write(inputs: Record<string, OrtTensor>, outputs: Record<string, OrtTensor | null>): Promise<void> {
    const ending = this.#uncopied;
    try {
      await runSession(this.#session, inputs, ending ? { [ending.output]: null, ...outputs } : outputs);
    } catch (error) {
      if (!ending || !messageOf(error).endsWith(ending.message)) throw error;
    }
  }

  undo(): void {
    this.#turn.current = this.#turn.current === 0 ? 1 : 0;
  }

  state(): ReadonlyMap<string, Tensor> {
    return new Map(this.#pairs.map(({ port, own }) => [port.input, own[this.#turn.current]]));
  }

  async readState(): Promise<ReadonlyMap<string, Tensor>> {
    return this.state();
  }

  restore(state: ReadonlyMap<string, Tensor>): void {
    for (const { port, own } of this.#pairs) {
      const tensor = state.get(port.input);
      if (tensor) copy(tensor, own[this.#turn.current]);
    }
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}

/** Copies numbers between tensors of the same type. */
function copy(from: Tensor, to: Tensor): void {
  checkReplaces(from, to);
  to.bytes.set(from.bytes);
}
