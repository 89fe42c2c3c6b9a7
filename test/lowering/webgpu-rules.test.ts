import { InferenceSession, type Tensor as OrtTensor } from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { offWebGpu, onCpu } from "../../src/autodiff/backends.ts";
import { fromOrtTensor, toOrtTensor } from "../../src/runtime/ort-tensor.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { useGpu } from "../helpers/software-gpu.ts";
import {
  type DeviceModel,
  deviceCases,
  deviceModel,
  shareOff,
  webGpuDiffers,
  webGpuPartly,
  webGpuRefuses,
} from "./device-cases.ts";

const missing = useGpu();

async function run({ bytes, feeds }: DeviceModel, whole: boolean) {
  const session = await InferenceSession.create(bytes, {
    executionProviders: ["webgpu"],
    logSeverityLevel: 4,
    ...(whole && { extra: { session: { disable_cpu_ep_fallback: "1" } } }),
  });
  try {
    const inputs = [...feeds].map(([name, tensor]) => [name, toOrtTensor(tensor)]);
    const results = await session.run(Object.fromEntries(inputs));
    return new Map(
      Object.entries(results).map(([name, value]) => [
        name,
        fromOrtTensor(name, value as OrtTensor).numbers(),
      ]),
    );
  } finally {
    await session.release();
  }
}

const fallback = /fallback to CPU EP/;

/** What a whole run on the device gives; for a graph with operators that are known to be off it, a mixed one. */
async function onDevice(model: DeviceModel) {
  try {
    return { results: await run(model, true), whole: true };
  } catch (error) {
    if (!fallback.test(String(error))) throw error;
    return { results: await run(model, false), whole: false };
  }
}

describe("every rule's samples on native WebGPU", () => {
  for (const testCase of deviceCases) {
    it(testCase.title, async (context) => {
      context.skip(missing !== "", missing);
      const model = await deviceModel(testCase, { lower: true });
      if (model.refused) {
        expect(model.refused).toMatch(/webgpu does not compute .* rightly/);
        return;
      }
      const expected = await nodeProbe.run(model.bytes, model.feeds);
      const [, message] = webGpuRefuses.find(([title]) => title.test(testCase.title)) ?? [];
      if (message) {
        await expect(onDevice(model)).rejects.toThrow(message);
        return;
      }
      const { results, whole } = await onDevice(model);
      const [, atMost = 1e-3] = webGpuDiffers.find(([title]) => title.test(testCase.title)) ?? [];
      for (const [name, tensor] of expected) {
        expect(shareOff(tensor.numbers(), results.get(name) ?? []), name).toBeLessThanOrEqual(atMost);
      }
      const known =
        [...model.ops].some((op) => offWebGpu[op] === onCpu) ||
        webGpuPartly.some((title) => title.test(testCase.title));
      if (!known) expect(whole, `runs on the device: ${[...model.ops].join(" ")}`).toBe(true);
    });
  }
});
