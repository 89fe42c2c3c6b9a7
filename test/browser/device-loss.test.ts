import { describe, expect, it } from "vitest";
import { useTab } from "./tab.ts";

declare const sorth: typeof import("../../src/web.ts");
declare const ort: typeof import("onnxruntime-web/webgpu");

/** Trains models/mlp.onnx in the page, destroys the device after step 6 if asked to, and says what came of it. */
async function trainAndLose(lose: boolean) {
  const { Trainer, readModel, crossEntropy, arrayDataset, inspect } = sorth;
  const model = await readModel(new Uint8Array(await (await fetch("/models/mlp.onnx")).arrayBuffer()));
  const x = Float32Array.from({ length: 64 * 784 }, (_, i) => (i % 7) / 7);
  const y = Int32Array.from({ length: 64 }, (_, i) => i % 10);
  const data = arrayDataset(x, y, [1, 28, 28]);
  const options = { objective: crossEntropy(), batch: 16, backend: "webgpu" };
  const messageOf = (error: unknown) => (error instanceof sorth.SorthError ? error.message : `? ${error}`);
  let steps = 0;
  let error = "";
  try {
    const trainer = await Trainer.create(model, options);
    try {
      for await (const event of trainer.fit(data, { epochs: 4, checkpoint: "lost" })) {
        steps = event.step;
        if (event.event === "step" && event.step === 6 && lose) {
          ((await ort.env.webgpu.device) as unknown as { destroy(): void }).destroy();
        }
      }
    } finally {
      await trainer.release();
    }
  } catch (caught) {
    error = messageOf(caught);
  }
  const again = await Trainer.create(model, options).then(
    () => "opens",
    (caught) => messageOf(caught),
  );
  const inspected = await inspect(model).then(
    () => "opens",
    (caught) => messageOf(caught),
  );
  return { steps, error, again, inspected };
}

describe("a GPU device that is lost", () => {
  const tab = useTab();
  it("ends the run with what to do, and the run goes on from its checkpoint after a reload", async () => {
    const { steps, error, again, inspected } = await tab.page.evaluate(trainAndLose, true);
    expect(steps).toBe(6);
    expect(error).toMatch(/^the GPU device was lost \(.+\), .*reload the page and go on from there/);
    // ONNX Runtime waits for the device for ever: nothing else may wait with it.
    expect(again).toMatch(/^the GPU device was lost/);
    expect(inspected).toMatch(/^the GPU device was lost/);
    await tab.page.reload();
    await tab.page.waitForFunction("globalThis.sorth");
    const resumed = await tab.page.evaluate(async () => {
      const trainer = await sorth.Trainer.resume("lost", { backend: "webgpu" });
      const { steps } = trainer;
      await trainer.release();
      return steps;
    });
    expect(resumed).toBe(4);
  });
});

describe("a browser without WebGPU", () => {
  const tab = useTab();
  const cases = [
    {
      title: "no adapter",
      change: "navigator.gpu.requestAdapter = async () => null",
      message: /gives no WebGPU adapter.*train on wasm instead/,
    },
    {
      title: "no WebGPU",
      change: 'Object.defineProperty(navigator, "gpu", { value: undefined })',
      message: /has no WebGPU.*train on wasm instead/,
    },
  ];
  for (const { title, change, message } of cases) {
    it(`${title}: says what to do before anything is built`, async () => {
      await tab.page.reload();
      await tab.page.waitForFunction("globalThis.sorth");
      await tab.page.evaluate(change);
      expect((await tab.page.evaluate(trainAndLose, false)).error).toMatch(message);
    });
  }
});
