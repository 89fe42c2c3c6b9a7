import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-common";
import { DataError, DeviceError } from "../errors.ts";
import { Graph } from "../graph/graph.ts";
import { graphToProto } from "../graph/proto.ts";
import { Model } from "../onnx/model.ts";
import { Tensor } from "../onnx/tensor.ts";
import { narrowedKey } from "../passes/backends/narrow-integers.ts";
import { loopsOn, loweringFor } from "../passes/backends/table.ts";
import { initialTensors } from "../programs/initial-state.ts";
import type { Step } from "../programs/step.ts";
import { figureOutputs, type StepPorts, statePorts } from "../programs/step-ports.ts";
import { checkReplaces, OrtForwardSession, runSession } from "./ort-session.ts";
import { fromOrtTensor, toOrtTensor } from "./ort-tensor.ts";
import { type OpenOnDevice, openOnDevice } from "./placement.ts";
import { allGood, stepResults } from "./step-results.ts";
import type { Backend, Fed, StepFeeds, StepResult, StepSession } from "./step-session.ts";

/** Suffix of the outputs of the read-back graph. */
const onHost = "/host";

interface HeldState {
  /** The session that copies it to the host; released with the state. */
  readonly reader: InferenceSession;
  /** By input name: on the device, or on the host until the next step takes it over. */
  state: Map<string, OrtTensor>;
  /** The state on the host; undefined once a step has run since it was read. */
  host: ReadonlyMap<string, Tensor> | undefined;
}

/** The state that a step begins with. */
function firstState(step: Step, reader: InferenceSession): HeldState {
  const host = initialTensors(step);
  return { reader, host, state: new Map([...host].map(([name, tensor]) => [name, toOrtTensor(tensor)])) };
}

/**
 * Keeps parameters and optimizer state in the memory of a GPU: the outputs of a step are the inputs of the next one and never
 * leave the device. Only data, scalars and the loss are copied. A second session copies the state to the host on request,
 * because `getData()` of a device tensor aborts the process in onnxruntime-node 1.30.
 */
class DeviceStepSession implements StepSession {
  readonly #session: InferenceSession;
  readonly #ports: StepPorts;
  readonly #narrowed: (name: string, tensor: Tensor) => Tensor;
  readonly #held: HeldState;

  /** @param held - the state, which sessions may share */
  constructor(session: InferenceSession, step: Step, held: HeldState) {
    this.#session = session;
    this.#ports = step.ports;
    this.#narrowed = narrowedFeeds(step.model);
    this.#held = held;
  }

  /** The state of a session, for others that share it. */
  static heldBy(session: StepSession | undefined): HeldState | undefined {
    return session instanceof DeviceStepSession ? session.#held : undefined;
  }

  async run(feeds: StepFeeds): Promise<StepResult[]> {
    const inputs = Object.fromEntries(this.#held.state);
    for (const [name, tensor] of feeds) inputs[name] = toOrtTensor(this.#narrowed(name, tensor));
    const outputs = await runSession(this.#session, inputs);
    const results = stepResults(this.#ports, outputs);
    const next = new Map(
      statePorts(this.#ports).map(({ input, output }) => [input, outputs[output] as OrtTensor]),
    );
    if (allGood(results)) {
      const old = this.#held.state;
      this.#held.state = next;
      this.#held.host = undefined;
      disposeAll(old.values());
    } else {
      disposeAll(next.values());
    }
    return results;
  }

  undo(): void {
    throw new DeviceError("a run on this device is one step, and is not taken back");
  }

  state(): ReadonlyMap<string, Tensor> | undefined {
    return this.#held.host;
  }

  async readState(): Promise<ReadonlyMap<string, Tensor>> {
    if (this.#held.host) return this.#held.host;
    const results = await runSession(this.#held.reader, Object.fromEntries(this.#held.state));
    this.#held.host = new Map(
      statePorts(this.#ports).map(({ input }) => {
        const tensor = results[input + onHost];
        if (!tensor) throw new DeviceError(`the device returned no "${input}"`);
        return [input, fromOrtTensor(input, tensor)];
      }),
    );
    return this.#held.host;
  }

  held(): ReadonlyMap<string, Fed> {
    return this.#held.state;
  }

  restore(state: ReadonlyMap<string, Tensor>): void {
    const shapes = new Map(statePorts(this.#ports).map((port) => [port.input, port]));
    const host = this.#held.host && new Map(this.#held.host);
    for (const [name, tensor] of state) {
      const port = shapes.get(name);
      const old = this.#held.state.get(name);
      if (!port || !old) continue;
      checkReplaces(tensor, { name, type: port.type, dims: port.shape });
      const own = tensor.named(name);
      host?.set(name, own);
      this.#held.state.set(name, toOrtTensor(own));
      disposeAll([old]);
    }
    this.#held.host = host;
  }

  async release(): Promise<void> {
    // The tensors must be freed before their session, else the process crashes.
    disposeAll(this.#held.state.values());
    const holdsState = this.#held.state.size > 0;
    this.#held.state.clear();
    await this.#session.release();
    if (holdsState) await this.#held.reader.release();
  }
}

/** Frees the tensors that lie on a device. Host tensors share their numbers with others and stay. */
function disposeAll(tensors: Iterable<OrtTensor>): void {
  for (const tensor of tensors) if (tensor.location === "gpu-buffer") tensor.dispose();
}

/** A graph that returns a step's state unchanged. */
function readBackGraph(step: Step): Model {
  const graph = new Graph("read_back", new Map([["", 18]]));
  for (const { input, type, shape } of statePorts(step.ports)) {
    const value = graph.addInput(input, type, shape);
    const name = input + onHost;
    const [copy] = graph.addNode({ opType: "Identity", name, inputs: [value], outputs: [name] }).outputs;
    if (!copy) continue;
    copy.type = type;
    copy.shape = shape;
    graph.addOutput(copy);
  }
  return Model.fromProto(graphToProto(graph, { irVersion: 9 }));
}

/** WebGPU with the state on the device, on any build of ONNX Runtime that has it. */
export function webGpuBackendOn(open: OpenOnDevice, checkDevice?: () => Promise<void>): Backend {
  const name = "webgpu";
  return {
    name,
    loops: loopsOn(name),
    stateOnDevice: true,
    checkDevice,
    checkPrecision: async (precision) => (await import("./device-half.ts")).checkHalf(precision, open),
    lowering: () => loweringFor(name, open.probe),
    async openStep(step, options) {
      const locations = Object.fromEntries(
        statePorts(step.ports).map(({ output }) => [output, "gpu-buffer"] as const),
      );
      const figures = figureOutputs(step.ports).map((name) => [name, "cpu"] as const);
      const session = await openOnDevice(step.model, open, {
        ...options,
        device: name,
        session: {
          preferredOutputLocation: { ...locations, ...Object.fromEntries(figures) },
        },
      });
      const { profile: _, ...unmeasured } = options;
      const held =
        DeviceStepSession.heldBy(options.beside) ??
        firstState(step, await openOnDevice(readBackGraph(step), open, { ...unmeasured, device: name }));
      return new DeviceStepSession(session, step, held);
    },
    openForward: async (model, options) =>
      new OrtForwardSession(
        await openOnDevice(model, open, { ...options, device: name }),
        narrowedFeeds(model),
      ),
  };
}

/**
 * The inputs of a model that a pass narrowed to 32 bits.
 * @returns a function that gives their tensors this type, and leaves others as they are
 */
export function narrowedFeeds({ proto }: Model): (name: string, tensor: Tensor) => Tensor {
  const note = proto.metadataProps?.find(({ key }) => key === narrowedKey)?.value;
  const limits = new Map<string, number>(note ? Object.entries(JSON.parse(note)) : []);
  return (name, tensor) => {
    const limit = limits.get(name);
    return limit === undefined ? tensor : narrow(name, tensor, limit);
  };
}

/** @throws DataError for a number that the graph may take beyond 32 bits */
function narrow(name: string, tensor: Tensor, limit: number): Tensor {
  const numbers = tensor.numbers();
  const beyond = numbers.find((number) => Math.abs(number) > limit);
  if (beyond !== undefined) {
    throw new DataError(
      `input "${name}" has the number ${beyond}, and WebGPU computes with whole numbers up to ${limit} there: use --backend cpu`,
    );
  }
  return tensor.type === "int32" ? tensor : Tensor.of(name, "int32", tensor.dims, Int32Array.from(numbers));
}
