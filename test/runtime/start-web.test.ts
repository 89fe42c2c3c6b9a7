import { expect, test } from "vitest";
import { startWithin } from "../../src/runtime/start-web.ts";

test("a page that lacks ONNX Runtime's WebAssembly is told to serve it, and not that its model is refused", async () => {
  // onnxruntime-web's words where a bundler left the .wasm out.
  const failed =
    "no available backend found. ERR: [wasm] RuntimeError: Aborted(both async and sync fetching failed)";
  await expect(startWithin(Promise.reject(new Error(failed)))).rejects.toThrow(
    /^ONNX Runtime does not start in this page: its WebAssembly cannot be loaded \(no available.*env\.wasm\.wasmPaths = /,
  );
  const model = new Error("no opset import for domain com.example");
  await expect(startWithin(Promise.reject(model))).rejects.toBe(model);
});
