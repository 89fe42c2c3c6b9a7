import loader from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import binary from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import { env } from "onnxruntime-web/webgpu";

/**
 * Threads of WebAssembly: half of the processor's, four at most, as ONNX Runtime itself chooses. Without the headers that
 * let a page share memory between threads (docs/web.md) there is one.
 */
export const threads = globalThis.crossOriginIsolated
  ? Math.min(4, Math.ceil(navigator.hardwareConcurrency / 2))
  : 1;

/** Tells ONNX Runtime where its own files lie, before its first session: beside the page. */
export function prepareRuntime(): void {
  env.wasm.wasmPaths = { mjs: loader, wasm: binary };
  env.wasm.numThreads = threads;
  env.logLevel = "error";
}
