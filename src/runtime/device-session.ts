import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-common";
import { DeviceError } from "../errors.ts";
import { Graph } from "../graph/graph.ts";
import { graphToProto } from "../graph/proto.ts";
import { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { loopsOn, loweringFor } from "../passes/backends/table.ts";
import { initialTensors } from "../programs/initial-state.ts";
import type { Step } from "../programs/step.ts";
import { figureOutputs, type StepPorts, statePorts } from "../programs/step-ports.ts";
import { narrowedFeeds } from "./narrowed-feeds.ts";
import { checkReplaces, OrtForwardSession, runSession } from "./ort-session.ts";
import { fromOrtTensor, toOrtTensor } from "./ort-tensor.ts";
import { type OpenOnDevice, openOnDevice } from "./placement.ts";
import { allGood, stepResults } from "./step-results.ts";
import type { Backend, Fed, StepFeeds, StepResult, StepSession } from "./step-session.ts";

/** Suffix of the outputs of the read-back graph. */
const onHost = "/host";

/**
 * Keeps parameters and optimizer state in the memory of a GPU: the outputs of a step are the inputs of the next one and never
 * leave the device. Only data, scalars and the loss are copied. A second session copies the state to the host on request,
 * because `getData()` of a device tensor aborts the process in onnxruntime-node 1.30.
 */
class DeviceStepSession implements StepSession {
  readonly #session: InferenceSession;
  readonly #reader: InferenceSession;
  readonly #ports: StepPorts;
  readonly #narrowed: (name: string, tensor: Tensor) => Tensor;
  /** By input name: on the device, or on the host until the next step takes it over. */
  #state: Map<string, OrtTensor>;
  /** The state on the host; undefined once a step has run since it was read. */
  #host: ReadonlyMap<string, Tensor> | undefined;

  constructor(session: InferenceSession, reader: InferenceSession, step: Step) {
    this.#session = session;
    this.#reader = reader;
    this.#ports = step.ports;
    this.#narrowed = narrowedFeeds(step.model);
    this.#host = initialTensors(step);
    this.#state = new Map([...this.#host].map(([name, tensor]) => [name, toOrtTensor(tensor)]));
  }

  async run(feeds: StepFeeds): Promise<StepResult[]> {
    const inputs = Object.fromEntries(this.#state);
    for (const [name, tensor] of feeds) inputs[name] = toOrtTensor(this.#narrowed(name, tensor));
    const outputs = await runSession(this.#session, inputs);
    const results = stepResults(this.#ports, outputs);
    const next = new Map(
      statePorts(this.#ports).map(({ input, output }) => [input, outputs[output] as OrtTensor]),
    );
    if (allGood(results)) {
      const old = this.#state;
      this.#state = next;
      this.#host = undefined;
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
    return this.#host;
  }

  async readState(): Promise<ReadonlyMap<string, Tensor>> {
    if (this.#host) return this.#host;
    const results = await runSession(this.#reader, Object.fromEntries(this.#state));
    this.#host = new Map(
      statePorts(this.#ports).map(({ input }) => {
        const tensor = results[input + onHost];
        if (!tensor) throw new DeviceError(`the device returned no "${input}"`);
        return [input, fromOrtTensor(input, tensor)];
      }),
    );
    return this.#host;
  }

  held(): ReadonlyMap<string, Fed> {
    return this.#state;
  }

  restore(state: ReadonlyMap<string, Tensor>): void {
    const shapes = new Map(statePorts(this.#ports).map((port) => [port.input, port]));
    const host = this.#host && new Map(this.#host);
    for (const [name, tensor] of state) {
      const port = shapes.get(name);
      const old = this.#state.get(name);
      if (!port || !old) continue;
      checkReplaces(tensor, { name, type: port.type, dims: port.shape });
      const own = tensor.named(name);
      host?.set(name, own);
      this.#state.set(name, toOrtTensor(own));
      disposeAll([old]);
    }
    this.#host = host;
  }

  async release(): Promise<void> {
    // The tensors must be freed before their session, else the process crashes.
    disposeAll(this.#state.values());
    this.#state.clear();
    await this.#session.release();
    await this.#reader.release();
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
      const reader = await openOnDevice(readBackGraph(step), open, { ...unmeasured, device: name });
      return new DeviceStepSession(session, reader, step);
    },
    openForward: async (model, options) =>
      new OrtForwardSession(
        await openOnDevice(model, open, { ...options, device: name }),
        narrowedFeeds(model),
      ),
  };
}
