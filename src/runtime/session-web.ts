import type { InferenceSession } from "onnxruntime-web/webgpu";
import { RuntimeError } from "../errors.ts";
import type { Model } from "../onnx/model.ts";
import type { Tensor } from "../onnx/tensor.ts";
import { bytesInFiles } from "../onnx/weights-in-files.ts";
import { loopsOn, loweringFor } from "../passes/backends/table.ts";
import { initialTensors } from "../programs/initial-state.ts";
import type { Step } from "../programs/step.ts";
import { type StepPorts, statePorts } from "../programs/step-ports.ts";
import { checkDevice, create, createOnDevice } from "./gpu-device-web.ts";
import { sessionEntries, sessionForm } from "./ort-probe.ts";
import { checkReplaces, OrtForwardSession, opened, runSession } from "./ort-session.ts";
import { fromOrtTensor, toOrtTensor } from "./ort-tensor.ts";
import { webFiles, webProbe } from "./probe-web.ts";
import { allGood, stepResults } from "./step-results.ts";
import type { Backend, SessionOptions, StepFeeds, StepResult, StepSession } from "./step-session.ts";

/** Opens a session. Threads belong to the page (`env.wasm.numThreads`), not to a session: the option `threads` is refused. */
async function open(given: Model, { threads }: SessionOptions): Promise<InferenceSession> {
  if (threads !== undefined) {
    throw new RuntimeError(
      "threads of WebAssembly are set for the whole page, before the first session: env.wasm.numThreads of onnxruntime-web",
    );
  }
  const { model, entries, options } = await sessionForm(given, webFiles);
  return opened(
    create(model.bytes, {
      ...{ executionProviders: ["wasm"], logSeverityLevel: 4, extra: sessionEntries(entries) },
      ...options,
    }),
  );
}

/** Keeps the state in the page's memory: the outputs of a step are the inputs of the next one. */
class WasmStepSession implements StepSession {
  readonly #session: InferenceSession;
  readonly #ports: StepPorts;
  /** By input name. Tensors are replaced, never written to: the first ones are views of the model. Sessions may share it. */
  readonly #held: { state: ReadonlyMap<string, Tensor> };
  /** The state before the last run, in Loop form. */
  #before: ReadonlyMap<string, Tensor> | undefined;

  constructor(session: InferenceSession, step: Step, beside: StepSession | undefined) {
    this.#session = session;
    this.#ports = step.ports;
    this.#held = beside instanceof WasmStepSession ? beside.#held : { state: initialTensors(step) };
  }

  async run(feeds: StepFeeds): Promise<StepResult[]> {
    const inputs = [...feeds, ...this.#held.state].map(
      ([name, tensor]) => [name, toOrtTensor(tensor)] as const,
    );
    const outputs = await runSession(this.#session, Object.fromEntries(inputs));
    const results = stepResults(this.#ports, outputs);
    if (allGood(results)) {
      if (this.#ports.count !== undefined) this.#before = this.#held.state;
      this.#held.state = new Map(
        statePorts(this.#ports).map(({ input, output }) => {
          const tensor = outputs[output];
          if (!tensor) throw new RuntimeError(`the step returned no "${output}"`);
          return [input, fromOrtTensor(input, tensor)];
        }),
      );
    }
    return results;
  }

  undo(): void {
    this.#held.state = this.#before ?? this.#held.state;
  }

  state(): ReadonlyMap<string, Tensor> {
    return this.#held.state;
  }

  async readState(): Promise<ReadonlyMap<string, Tensor>> {
    return this.state();
  }

  restore(state: ReadonlyMap<string, Tensor>): void {
    const next = new Map(this.#held.state);
    for (const [name, own] of this.#held.state) {
      const tensor = state.get(name);
      if (!tensor) continue;
      checkReplaces(tensor, own);
      next.set(name, tensor.named(name));
    }
    this.#held.state = next;
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}

/** Training on the WebAssembly build of onnxruntime-web. */
export const wasmBackend: Backend = {
  name: "wasm",
  loops: loopsOn("wasm"),
  stateOnDevice: false,
  // No loop for a model whose weights lie in files: the loop's body would hold them in memory.
  oneStepARun: ({ model }) => bytesInFiles(model) > 0,
  lowering: () => loweringFor("wasm", webProbe),
  openStep: async (step, options) =>
    new WasmStepSession(await open(step.model, options), step, options.beside),
  openForward: async (model, options) => new OrtForwardSession(await open(model, options)),
};

/** WebGPU as a page loads it when it trains there. */
const webgpu = async (): Promise<Backend> => {
  const { webGpuBackendOn } = await import("./device-session.ts");
  return webGpuBackendOn(
    { create: createOnDevice, executionProvider: "webgpu", probe: webProbe, files: webFiles },
    checkDevice,
  );
};

/** WebGPU of the browser, in a page or a worker. */
export const webgpuBackend: Backend = {
  name: "webgpu",
  loops: loopsOn("webgpu"),
  stateOnDevice: true,
  checkDevice: async () => (await webgpu()).checkDevice?.(),
  checkPrecision: async (precision) => (await webgpu()).checkPrecision?.(precision),
  lowering: async () => (await webgpu()).lowering(),
  openStep: async (step, options) => (await webgpu()).openStep(step, options),
  openForward: async (model, options) => (await webgpu()).openForward(model, options),
};
