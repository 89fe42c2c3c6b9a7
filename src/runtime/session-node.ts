import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { SorthError } from "../errors.ts";
import { blockConvolutions, channelBlock } from "../lowering/blocked-convolution.ts";
import { elementCount, Tensor, type TensorData } from "../onnx/tensor.ts";
import type { StatePort, Step } from "../training/step.ts";
import { ortMessage } from "./ort-probe.ts";
import { fromOrtTensor, toOrtTensor } from "./ort-tensor.ts";
import { nodeProbe } from "./probe-node.ts";
import type {
  Backend,
  ForwardSession,
  SessionOptions,
  StepFeeds,
  StepResult,
  StepSession,
} from "./step-session.ts";

async function open(model: Uint8Array, { threads }: SessionOptions): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(model, {
      executionProviders: ["cpu"],
      logSeverityLevel: 4,
      ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
    });
  } catch (error) {
    throw new SorthError(`ONNX Runtime refuses the graph: ${ortMessage(error)}`);
  }
}

async function run(
  session: InferenceSession,
  feeds: Record<string, OrtTensor>,
  fetches?: Record<string, OrtTensor>,
): Promise<InferenceSession.OnnxValueMapType> {
  try {
    return await (fetches ? session.run(feeds, fetches) : session.run(feeds));
  } catch (error) {
    throw new SorthError(`ONNX Runtime cannot run the graph: ${ortMessage(error)}`);
  }
}

/** Fresh zeros for a tensor of a step: parameters and their state are float or double. */
function zeros({ type, shape }: { type: string; shape: readonly number[] }): TensorData {
  const count = elementCount(shape);
  if (type === "float") return new Float32Array(count);
  if (type === "double") return new Float64Array(count);
  throw new SorthError(
    `training needs float or double parameters, not ${type}; convert the model to float32`,
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
      const make = () => Tensor.of(port.input, port.type, port.shape, zeros(port));
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
    await run(this.#session, inputs, outputs);
    const loss = this.#loss.data[0] ?? Number.NaN;
    const penalty = this.#penalty?.data[0] ?? 0;
    if (Number.isFinite(loss)) this.#current = next;
    return { loss, penalty };
  }

  state(): ReadonlyMap<string, Tensor> {
    return new Map(this.#pairs.map(({ port, own }) => [port.input, own[this.#current]]));
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
  if (from.type !== to.type || from.size !== to.size) {
    throw new SorthError(
      `"${to.name}" is ${to.type}[${to.dims}], but ${from.type}[${from.dims}] was to be restored into it`,
    );
  }
  to.bytes.set(from.bytes);
}

class NodeForwardSession implements ForwardSession {
  readonly #session: InferenceSession;

  constructor(session: InferenceSession) {
    this.#session = session;
  }

  async run(feeds: ReadonlyMap<string, Tensor>): Promise<ReadonlyMap<string, Tensor>> {
    const known = new Set(this.#session.inputNames);
    const inputs = [...feeds]
      .filter(([name]) => known.has(name))
      .map(([name, t]) => [name, toOrtTensor(t)] as const);
    const results = await run(this.#session, Object.fromEntries(inputs));
    return new Map(
      Object.entries(results).map(([name, value]) => [name, fromOrtTensor(name, value as OrtTensor)]),
    );
  }

  release(): Promise<void> {
    return this.#session.release();
  }
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
  openForward: async (model, options) => new NodeForwardSession(await open(model, options)),
};
