import { env } from "onnxruntime-web/webgpu";
import { messageOf, RuntimeError } from "../errors.ts";

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
      if (sinceArrival > limits.started || seconds > limits.inAll) reject(new RuntimeError(advice));
    }, 1000);
  });
  try {
    const session = await Promise.race([first, waited]);
    started = true;
    return session;
  } catch (error) {
    const message = messageOf(error);
    if (/initializing failed due to timeout/.test(message)) throw new RuntimeError(advice);
    if (/no available backend.*\[wasm\]/s.test(message)) {
      throw new RuntimeError(
        `${notStarted} its WebAssembly cannot be loaded (${message}). Serve both files of it (${paths}), and load the page again`,
      );
    }
    // An error about the model says nothing about the start.
    throw error;
  } finally {
    clearInterval(timer);
  }
}

const notStarted = "ONNX Runtime does not start in this page:";
const paths = "env.wasm.wasmPaths = { mjs, wasm } before the first session: docs/web.md of sorth-onnx";
const advice =
  `${notStarted} the threads of WebAssembly do not answer. Let its loader be a file of its own ` +
  `(${paths}), or train on one thread (env.wasm.numThreads = 1); then load the page again`;

/** Whether ONNX Runtime's WebAssembly was given, or has arrived. */
const hasBinary = (): boolean =>
  env.wasm.wasmBinary !== undefined ||
  performance.getEntriesByType("resource").some(({ name }) => /\.wasm(\?|$)/.test(name));
