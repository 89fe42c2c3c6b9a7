import { InferenceSession, type Tensor as OrtTensor } from "onnxruntime-web/webgpu";
import { SorthError } from "../errors.ts";
import { elementCount, Tensor } from "../onnx/tensor.ts";
import type { StatePort, Step } from "../training/step.ts";
import { ortMessage } from "./ort-probe.ts";
import { fromOrtTensor, toOrtTensor } from "./ort-tensor.ts";
import type {
  Backend,
  ForwardSession,
  SessionOptions,
  StepFeeds,
  StepResult,
  StepSession,
} from "./step-session.ts";

/** Threads belong to the page (`env.wasm.numThreads`), not to a session: an option given here is refused. */
async function open(model: Uint8Array, { threads }: SessionOptions): Promise<InferenceSession> {
  if (threads !== undefined) {
    throw new SorthError(
      "threads of WebAssembly are set for the whole page, before the first session: env.wasm.numThreads of onnxruntime-web",
    );
  }
  try {
    return await InferenceSession.create(model, { executionProviders: ["wasm"], logSeverityLevel: 4 });
  } catch (error) {
    throw new SorthError(`ONNX Runtime refuses the graph: ${ortMessage(error)}`);
  }
}

async function run(
  session: InferenceSession,
  feeds: Record<string, OrtTensor>,
): Promise<InferenceSession.OnnxValueMapType> {
  try {
    return await session.run(feeds);
  } catch (error) {
    throw new SorthError(`ONNX Runtime cannot run the graph: ${ortMessage(error)}`);
  }
}

/** What a step starts from. @throws SorthError for a type that is not trained */
function startOf({ input, type, shape }: StatePort, initial: Tensor | undefined): Tensor {
  if (type !== "float" && type !== "double") {
    throw new SorthError(
      `training needs float or double parameters, not ${type}; convert the model to float32`,
    );
  }
  if (initial) return Tensor.of(input, type, shape, (initial.data as Float32Array).slice());
  const size = elementCount(shape);
  return Tensor.of(input, type, shape, type === "double" ? new Float64Array(size) : new Float32Array(size));
}

/** Keeps the state in the page's memory: what a step returns is what the next one reads. */
class WasmStepSession implements StepSession {
  readonly #session: InferenceSession;
  readonly #step: Step;
  readonly #outputs: ReadonlyMap<string, string>;
  #state: Map<string, Tensor>;

  constructor(session: InferenceSession, step: Step) {
    const { ports, initial } = step;
    this.#session = session;
    this.#step = step;
    const state: (readonly [StatePort, Tensor | undefined])[] = [
      ...ports.parameters.flatMap((port) => [
        [port, initial.get(port.name)] as const,
        ...[...port.slots.values()].map((slot) => [slot, undefined] as const),
      ]),
      ...ports.statistics.map((port) => [port, initial.get(port.name)] as const),
    ];
    this.#outputs = new Map(state.map(([{ input, output }]) => [input, output]));
    this.#state = new Map(state.map(([port, tensor]) => [port.input, startOf(port, tensor)]));
  }

  async run(feeds: StepFeeds): Promise<StepResult> {
    const inputs = [...feeds, ...this.#state].map(([name, tensor]) => [name, toOrtTensor(tensor)] as const);
    const results = await run(this.#session, Object.fromEntries(inputs));
    const result = (name: string): Tensor => {
      const tensor = results[name];
      if (!tensor) throw new SorthError(`the step returned no "${name}"`);
      return fromOrtTensor(name, tensor);
    };
    const { ports } = this.#step;
    const loss = result(ports.loss).numbers()[0] ?? Number.NaN;
    const penalty = ports.penalty === undefined ? 0 : (result(ports.penalty).numbers()[0] ?? Number.NaN);
    if (Number.isFinite(loss)) {
      this.#state = new Map(
        [...this.#outputs].map(([input, output]) => [input, result(output).named(input)]),
      );
    }
    return { loss, penalty };
  }

  state(): ReadonlyMap<string, Tensor> {
    return this.#state;
  }

  restore(state: ReadonlyMap<string, Tensor>): void {
    for (const [name, own] of this.#state) {
      const tensor = state.get(name);
      if (!tensor) continue;
      if (tensor.type !== own.type || tensor.size !== own.size) {
        throw new SorthError(
          `"${name}" is ${own.type}[${own.dims}], but ${tensor.type}[${tensor.dims}] was to be restored into it`,
        );
      }
      const copy = (tensor.data as Float32Array).slice();
      this.#state.set(name, Tensor.of(name, own.type, own.dims, copy));
    }
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}

class WasmForwardSession implements ForwardSession {
  readonly #session: InferenceSession;

  constructor(session: InferenceSession) {
    this.#session = session;
  }

  async run(feeds: ReadonlyMap<string, Tensor>): Promise<ReadonlyMap<string, Tensor>> {
    const known = new Set(this.#session.inputNames);
    const inputs = [...feeds].filter(([name]) => known.has(name));
    const results = await run(
      this.#session,
      Object.fromEntries(inputs.map(([name, tensor]) => [name, toOrtTensor(tensor)])),
    );
    return new Map(Object.entries(results).map(([name, tensor]) => [name, fromOrtTensor(name, tensor)]));
  }

  release(): Promise<void> {
    return this.#session.release();
  }
}

/** Training on the WebAssembly build of onnxruntime-web. */
export const wasmBackend: Backend = {
  name: "wasm",
  openStep: async (step, options) => new WasmStepSession(await open(step.model.bytes, options), step),
  openForward: async (model, options) => new WasmForwardSession(await open(model, options)),
};
