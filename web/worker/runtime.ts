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

interface Gpu {
  requestAdapter(): Promise<object | null>;
}

/** Why the browser gives no GPU; undefined when it does. */
export async function missingGpu(): Promise<string | undefined> {
  const { gpu } = navigator as Navigator & { gpu?: Gpu };
  if (!gpu) {
    return globalThis.isSecureContext
      ? "this browser has no WebGPU"
      : "browsers give WebGPU to pages of https and localhost only";
  }
  const adapter = await gpu.requestAdapter().catch(() => null);
  return adapter ? undefined : "the browser gives no WebGPU adapter: its GPU is not supported, or blocked";
}

interface LostDevice {
  readonly reason: string;
  readonly message: string;
}

/** Calls back when the GPU's device is lost that ONNX Runtime works on. To be called once it has a session there. */
export async function onDeviceLost(tell: (message: string) => void): Promise<void> {
  const device = (await env.webgpu.device) as { readonly lost: Promise<LostDevice> } | undefined;
  void device?.lost.then(({ reason, message }) => {
    // ONNX Runtime itself destroys its device with the last session on it.
    if (reason !== "destroyed") tell(message || reason);
  });
}
