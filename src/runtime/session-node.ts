import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { blockConvolutions, channelBlock } from "../lowering/blocked-convolution.ts";
import { Tensor } from "../onnx/tensor.ts";
import { zeros } from "../training/initial-state.ts";
import type { StatePort, Step } from "../training/step.ts";
import { webGpuBackendOn } from "./device-session.ts";
import { checkReplaces, OrtForwardSession, opened, runSession } from "./ort-session.ts";
import { toOrtTensor } from "./ort-tensor.ts";
import { nodeProbe } from "./probe-node.ts";
import type { Backend, SessionOptions, StepFeeds, StepResult, StepSession } from "./step-session.ts";

async function open(model: Uint8Array, { threads }: SessionOptions): Promise<InferenceSession> {
  return opened(
    InferenceSession.create(model, {
      executionProviders: ["cpu"],
      logSeverityLevel: 4,
      ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
    }),
  );
}

/**
 * A tensor of onnxruntime-node's own class over our memory. onnxruntime-common's (see {@link toOrtTensor}) is another class
 * in an ES module: as a preallocated output it would be passed over without a word.
 */
function shared(tensor: Tensor): OrtTensor {
  const { type, data, dims } = toOrtTensor(tensor);
  return new OrtTensor(type, data as Float32Array, dims);
}

/** One state tensor in two buffers: a step reads one and writes the other. */
interface Pair {
  readonly port: StatePort;
  readonly own: [Tensor, Tensor];
  readonly ort: [OrtTensor, OrtTensor];
}

class NodeStepSession implements StepSession {
  readonly #session: InferenceSession;
  readonly #pairs: Pair[];
  readonly #loss: { name: string; data: Float32Array | Float64Array; ort: OrtTensor };
  readonly #penalty: { name: string; data: Float32Array | Float64Array; ort: OrtTensor } | undefined;
  #current: 0 | 1 = 0;

  constructor(session: InferenceSession, step: Step) {
    this.#session = session;
    const { ports, initial } = step;
    const pair = (port: StatePort, start: Tensor | undefined): Pair => {
      const make = () => zeros(port);
      const own: [Tensor, Tensor] = [make(), make()];
      if (start) copy(start, own[0]);
      return { port, own, ort: [shared(own[0]), shared(own[1])] };
    };
    this.#pairs = [
      ...ports.parameters.flatMap((port) => [
        pair(port, initial.get(port.name)),
        ...[...port.slots.values()].map((slot) => pair(slot, undefined)),
      ]),
      ...ports.statistics.map((port) => pair(port, initial.get(port.name))),
    ];
    const scalar = (name: string) => {
      const data = ports.scalars.type === "double" ? new Float64Array(1) : new Float32Array(1);
      return { name, data, ort: shared(Tensor.of(name, ports.scalars.type, [], data)) };
    };
    this.#loss = scalar(ports.loss);
    this.#penalty = ports.penalty === undefined ? undefined : scalar(ports.penalty);
  }

  async run(feeds: StepFeeds): Promise<StepResult> {
    const next = this.#current === 0 ? 1 : 0;
    const inputs: Record<string, OrtTensor> = {};
    const outputs: Record<string, OrtTensor> = { [this.#loss.name]: this.#loss.ort };
    if (this.#penalty) outputs[this.#penalty.name] = this.#penalty.ort;
    for (const [name, tensor] of feeds) inputs[name] = toOrtTensor(tensor);
    for (const { port, ort } of this.#pairs) {
      inputs[port.input] = ort[this.#current];
      outputs[port.output] = ort[next];
    }
    await runSession(this.#session, inputs, outputs);
    const loss = this.#loss.data[0] ?? Number.NaN;
    const penalty = this.#penalty?.data[0] ?? 0;
    if (Number.isFinite(loss)) this.#current = next;
    return { loss, penalty };
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

/** Copies numbers; the types are the same. */
function copy(from: Tensor, to: Tensor): void {
  checkReplaces(from, to);
  to.bytes.set(from.bytes);
}

/**
 * onnxruntime-node on the CPU. State lives in two buffers that are swapped through preallocated outputs: nothing is
 * allocated and no parameter is copied between steps by us.
 */
export const cpuBackend: Backend = {
  name: "cpu",
  lowering: async () => {
    const block = await channelBlock(nodeProbe);
    return block ? (graph, emit) => blockConvolutions(graph, emit, block) : undefined;
  },
  openStep: async (step, options) => new NodeStepSession(await open(step.model.bytes, options), step),
  openForward: async (model, options) => new OrtForwardSession(await open(model, options)),
};

/** Native WebGPU of onnxruntime-node. */
export const webgpuBackend: Backend = webGpuBackendOn({
  create: (model, options) => InferenceSession.create(model, options),
  executionProvider: "webgpu",
  probe: nodeProbe,
});
