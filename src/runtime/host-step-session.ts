import type { InferenceSession, Tensor as OrtTensor, TensorConstructor } from "onnxruntime-common";
import type { Tensor } from "../onnx/tensor.ts";
import { initialNumbers, zeros } from "../programs/initial-state.ts";
import type { Step } from "../programs/step.ts";
import { figureOutputs, type StatePort, type StepPorts } from "../programs/step-ports.ts";
import { checkReplaces, runSession } from "./ort-session.ts";
import { toOrtTensor } from "./ort-tensor.ts";
import { allFinite, stepResults } from "./step-results.ts";
import type { StepFeeds, StepResult, StepSession } from "./step-session.ts";

/** One state tensor in two buffers: a step reads one and writes the other. */
interface Pair {
  readonly port: StatePort;
  readonly own: [Tensor, Tensor];
  readonly ort: [OrtTensor, OrtTensor];
}

/**
 * Keeps the state of onnxruntime-node in the host's memory, in two buffers that are swapped through preallocated outputs:
 * between steps this class allocates nothing and copies no parameter.
 */
export class HostStepSession implements StepSession {
  readonly #session: InferenceSession;
  readonly #pairs: Pair[];
  readonly #ports: StepPorts;
  #current: 0 | 1 = 0;

  /**
   * @param OwnTensor - onnxruntime-node's own Tensor class. In an ES module, onnxruntime-common's (see {@link toOrtTensor})
   * is another class, and ONNX Runtime silently ignores it as a preallocated output.
   */
  constructor(session: InferenceSession, step: Step, OwnTensor: TensorConstructor) {
    this.#session = session;
    this.#ports = step.ports;
    const shared = (tensor: Tensor): OrtTensor => {
      const { type, data, dims } = toOrtTensor(tensor);
      return new OwnTensor(type, data as Float32Array, dims);
    };
    this.#pairs = initialNumbers(step).map(({ port, start }): Pair => {
      const own: [Tensor, Tensor] = [zeros(port), zeros(port)];
      if (start) copy(start, own[0]);
      return { port, own, ort: [shared(own[0]), shared(own[1])] };
    });
  }

  async run(feeds: StepFeeds): Promise<StepResult[]> {
    const next = this.#current === 0 ? 1 : 0;
    const inputs: Record<string, OrtTensor> = {};
    // Their length is the number of steps in the run: ONNX Runtime allocates these tensors itself.
    const outputs: Record<string, OrtTensor | null> = Object.fromEntries(
      figureOutputs(this.#ports).map((name) => [name, null]),
    );
    for (const [name, tensor] of feeds) inputs[name] = toOrtTensor(tensor);
    for (const { port, ort } of this.#pairs) {
      inputs[port.input] = ort[this.#current];
      outputs[port.output] = ort[next];
    }
    const results = stepResults(this.#ports, await runSession(this.#session, inputs, outputs));
    if (allFinite(results)) this.#current = next;
    return results;
  }

  undo(): void {
    this.#current = this.#current === 0 ? 1 : 0;
  }

  state(): ReadonlyMap<string, Tensor> {
    return new Map(this.#pairs.map(({ port, own }) => [port.input, own[this.#current]]));
  }

  readState(): Promise<ReadonlyMap<string, Tensor>> {
    return Promise.resolve(this.state());
  }

  held(): ReadonlyMap<string, Tensor> {
    return this.state();
  }

  restore(state: ReadonlyMap<string, Tensor>): void {
    for (const { port, own } of this.#pairs) {
      const tensor = state.get(port.input);
      if (tensor) copy(tensor, own[this.#current]);
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
