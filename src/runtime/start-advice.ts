import { RuntimeError } from "../errors.ts";

const notStarted = "ONNX Runtime does not start in this page:";
const paths = "env.wasm.wasmPaths = { mjs, wasm } before the first session: docs/web.md of sorth-onnx";

/** The error of a page whose threads do not answer. */
export const silentThreads = (): RuntimeError =>
  new RuntimeError(
    `${notStarted} the threads of WebAssembly do not answer. Let its loader be a file of its own ` +
      `(${paths}), or train on one thread (env.wasm.numThreads = 1); then load the page again`,
  );

/** The error of a page that lacks ONNX Runtime's WebAssembly. @param message - ONNX Runtime's own */
export const missingWasm = (message: string): RuntimeError =>
  new RuntimeError(
    `${notStarted} its WebAssembly cannot be loaded (${message}). Serve both files of it (${paths}), and load the page again`,
  );
