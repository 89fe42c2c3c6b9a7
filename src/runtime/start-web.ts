import { env } from "onnxruntime-web/webgpu";
import { messageOf } from "../errors.ts";

/** Seconds that ONNX Runtime may take to start: after its WebAssembly has arrived, and in total. */
const limits = { started: 60, inAll: 600 };

let started = false;

/**
 * Waits for the first session of a page, which starts ONNX Runtime. Its threads load their starting script again. If a
 * bundler put ONNX Runtime's loader into the page's own script, the threads never answer, and ONNX Runtime would wait without
 * end.
 * @throws SorthError with what to do, when it does not start
 */
export async function startWithin<T>(first: Promise<T>): Promise<T> {
  if (started) return first;
  const threads = globalThis.crossOriginIsolated && env.wasm.numThreads !== 1;
  let timer: ReturnType<typeof setInterval> | undefined;
  const waited = new Promise<never>((_, reject) => {
    if (!threads) return;
    let [seconds, sinceArrival] = [0, 0];
    timer = setInterval(() => {
      seconds += 1;
      if (hasBinary()) sinceArrival += 1;
      if (sinceArrival > limits.started || seconds > limits.inAll) reject(new Error(noAnswer));
    }, 1000);
  });
  try {
    const session = await Promise.race([first, waited]);
    started = true;
    return session;
  } catch (error) {
    const message = messageOf(error);
    const isSilent = message.includes(noAnswer);
    if (isSilent || /no available backend.*\[wasm\]/s.test(message)) {
      const { missingWasm, silentThreads } = await import("./start-advice.ts");
      throw isSilent ? silentThreads() : missingWasm(message);
    }
    // An error about the model says nothing about the start.
    throw error;
  } finally {
    clearInterval(timer);
  }
}

/** ONNX Runtime's words where its threads have not answered for as long as it waits, and those here. */
const noAnswer = "initializing failed due to timeout";

/** Whether ONNX Runtime's WebAssembly was given, or has arrived. */
const hasBinary = (): boolean =>
  env.wasm.wasmBinary !== undefined ||
  performance.getEntriesByType("resource").some(({ name }) => /\.wasm(\?|$)/.test(name));
