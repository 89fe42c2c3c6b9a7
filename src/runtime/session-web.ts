import { InferenceSession } from "onnxruntime-web/webgpu";
import { SorthError } from "../errors.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { initialTensors } from "../training/initial-state.ts";
import type { Step, StepPorts } from "../training/step.ts";
import { webGpuBackendOn } from "./device-session.ts";
import { checkReplaces, OrtForwardSession, opened, runSession } from "./ort-session.ts";
import { fromOrtTensor, toOrtTensor } from "./ort-tensor.ts";
import { webProbe } from "./probe-web.ts";
import type { Backend, SessionOptions, StepFeeds, StepResult, StepSession } from "./step-session.ts";

/** Threads belong to the page (`env.wasm.numThreads`), not to a session: an option given here is refused. */
async function open(model: Uint8Array, { threads }: SessionOptions): Promise<InferenceSession> {
  if (threads !== undefined) {
    throw new SorthError(
      "threads of WebAssembly are set for the whole page, before the first session: env.wasm.numThreads of onnxruntime-web",
    );
  }
  return opened(InferenceSession.create(model, { executionProviders: ["wasm"], logSeverityLevel: 4 }));
}

/** Keeps the state in the page's memory: what a step returns is what the next one reads. */
class WasmStepSession implements StepSession {
  readonly #session: InferenceSession;
  readonly #ports: StepPorts;
  /** By input name. Tensors are replaced, never written to: the first ones are views of the model. */
  #state: Map<string, Tensor>;

  constructor(session: InferenceSession, step: Step) {
    this.#session = session;
    this.#ports = step.ports;
    this.#state = initialTensors(step);
  }

  async run(feeds: StepFeeds): Promise<StepResult> {
    const inputs = [...feeds, ...this.#state].map(([name, tensor]) => [name, toOrtTensor(tensor)] as const);
    const results = await runSession(this.#session, Object.fromEntries(inputs));
    const result = (name: string): Tensor => {
      const tensor = results[name];
      if (!tensor) throw new SorthError(`the step returned no "${name}"`);
      return fromOrtTensor(name, tensor);
    };
    const { loss: lossName, penalty: penaltyName, parameters, statistics } = this.#ports;
    const loss = result(lossName).numbers()[0] ?? Number.NaN;
    const penalty = penaltyName === undefined ? 0 : (result(penaltyName).numbers()[0] ?? Number.NaN);
    if (Number.isFinite(loss)) {
      const ports = [...parameters.flatMap((port) => [port, ...port.slots.values()]), ...statistics];
      this.#state = new Map(ports.map(({ input, output }) => [input, result(output).named(input)]));
    }
    return { loss, penalty };
  }

  state(): ReadonlyMap<string, Tensor> {
    return this.#state;
  }

  readState(): Promise<ReadonlyMap<string, Tensor>> {
    return Promise.resolve(this.state());
  }

  held(): ReadonlyMap<string, Tensor> {
    return this.state();
  }

  restore(state: ReadonlyMap<string, Tensor>): void {
    for (const [name, own] of this.#state) {
      const tensor = state.get(name);
      if (!tensor) continue;
      checkReplaces(tensor, own);
      this.#state.set(name, tensor.named(name));
    }
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}

/** Training on the WebAssembly build of onnxruntime-web. */
export const wasmBackend: Backend = {
  name: "wasm",
  openStep: async (step, options) => new WasmStepSession(await open(step.model.bytes, options), step),
  openForward: async (model, options) => new OrtForwardSession(await open(model, options)),
};

/** WebGPU of the browser, in a page or a worker. */
export const webgpuBackend: Backend = webGpuBackendOn({
  create: (model, options) => InferenceSession.create(model, options),
  executionProvider: "webgpu",
  probe: webProbe,
  checkDevice: async () => {
    const { gpu } = navigator as Navigator & { gpu?: { requestAdapter(): Promise<object | null> } };
    if (!gpu) {
      throw new SorthError(
        "this browser has no WebGPU, or gives it to pages of https and localhost only; train on wasm instead",
      );
    }
    if (!(await gpu.requestAdapter())) {
      throw new SorthError(
        "the browser gives no WebGPU adapter: its GPU is not supported or blocked (see its page about the GPU); train on wasm instead",
      );
    }
  },
});
