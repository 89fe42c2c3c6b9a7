// ONNX Runtime's loader and WebAssembly as files of their own: its threads load the loader again, and not this script.
import loader from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import binary from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";
import { arrayDataset, crossEntropy, env, readModel, som, Trainer } from "sorth-onnx/web";

env.wasm.wasmPaths = { mjs: loader, wasm: binary };
env.wasm.numThreads = crossOriginIsolated ? 2 : 1;

// 256 samples of two kinds: bright above or bright below.
const labels = Int32Array.from({ length: 256 }, (_, i) => i % 2);
const pixels = Float32Array.from({ length: 256 * 784 }, (_, i) => {
  const above = i % 784 < 392;
  return above === (labels[Math.floor(i / 784)] === 0) ? 1 : Math.sin(i) / 4;
});
const data = arrayDataset(pixels, labels, [1, 28, 28]);

try {
  const response = await fetch(`${import.meta.env.BASE_URL}model.onnx`);
  const trainer = await Trainer.create(await readModel(await response.arrayBuffer()), {
    objective: crossEntropy(),
    penalties: [{ penalty: som() }],
    batch: 32,
    backend: "wasm", // or "webgpu"
  });
  postMessage(`${env.wasm.numThreads} of WebAssembly's threads`);
  for await (const event of trainer.fit(data, { epochs: 3 })) {
    if (event.event === "epoch") postMessage(`epoch ${event.epoch}: loss ${event.loss.toFixed(4)}`);
  }
  postMessage(`accuracy ${(await trainer.evaluate(data)).accuracy}`);
  await trainer.release();
} catch (error) {
  postMessage(`error: ${error.message}`);
}
