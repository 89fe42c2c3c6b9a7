import loader from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import binary from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import { env } from "onnxruntime-web/webgpu";

/**
 * Threads of WebAssembly: half of the processor's, at most four, which is also ONNX Runtime's own choice. There is only one
 * if the page lacks the headers that let threads share memory (docs/web.md).
 */
export const threads = globalThis.crossOriginIsolated
  ? Math.min(4, Math.ceil(navigator.hardwareConcurrency / 2))
  : 1;

/** Sets the address of ONNX Runtime's own files, which lie beside the page. Call it before the first session. */
export function prepareRuntime(): void {
  env.wasm.wasmPaths = { mjs: loader, wasm: binary };
  env.wasm.numThreads = threads;
  env.logLevel = "error";
}
