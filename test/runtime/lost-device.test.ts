import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { beforeEach, expect, test, vi } from "vitest";

// Sessions on WebGPU in a page, with a device and sessions that the test controls; test/browser/device-loss has a real one.

let lose: (info: { reason: string; message: string }) => void;
let run: () => Promise<Record<string, unknown>>;
const release = vi.fn(async () => {});
const device = { lost: new Promise((resolve) => (lose = resolve)) };
vi.mock("onnxruntime-web/webgpu", () => ({
  env: { wasm: {}, webgpu: { device: Promise.resolve(device) } },
  InferenceSession: { create: async () => ({ run: () => run(), release }) },
}));

let open: typeof import("../../src/runtime/gpu-device-web.ts");
beforeEach(async () => {
  open = await import("../../src/runtime/gpu-device-web.ts");
});

test("nothing of a run is kept once it has ended, though the device stays", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const session = await open.createOnDevice(new Uint8Array(), {});
  const results: WeakRef<object>[] = [];
  for (let step = 0; step < 20; step++) {
    run = async () => ({ loss: new Float32Array(1000), step });
    const result = await session.run({});
    expect(result.step).toBe(step);
    results.push(new WeakRef(result));
  }
  // What a loop's last turn holds may still be on the stack.
  for (let turn = 0; turn < 5; turn++) {
    await new Promise((done) => setTimeout(done, 10));
    collect();
  }
  expect(results.filter((one) => one.deref() !== undefined).length).toBeLessThan(3);
  await session.release();
  expect(release).toHaveBeenCalledTimes(1);
});

test("a run that fails says why; a lost device ends runs that wait, later ones, and new sessions", async () => {
  const session = await open.createOnDevice(new Uint8Array(), {});
  run = async () => {
    throw new Error("failed to call OrtRun()");
  };
  await expect(session.run({})).rejects.toThrow("failed to call OrtRun()");
  const told = vi.fn();
  open.onDeviceLost(told);
  run = () => new Promise(() => {});
  const waiting = session.run({});
  lose({ reason: "unknown", message: "the driver\n was reset" });
  await expect(waiting).rejects.toThrow("the GPU device was lost (the driver was reset)");
  await expect(session.run({})).rejects.toThrow("the GPU device was lost (the driver was reset)");
  await expect(open.createOnDevice(new Uint8Array(), {})).rejects.toThrow("the GPU device was lost");
  expect(told).toHaveBeenCalledWith("the driver was reset");
});
