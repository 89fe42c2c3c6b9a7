import { InferenceSession, type Tensor as OrtTensor } from "onnxruntime-node";
import { describe, expect, it } from "vitest";
import { fromOrtTensor, toOrtTensor } from "../../../src/runtime/ort-tensor.ts";
import { keepDevice, useGpu } from "../../helpers/software-gpu.ts";
import { checkOnWebGpu, type DeviceModel, deviceModels, type Outcome } from "./device-cases.ts";

const missing = useGpu();
keepDevice(missing);
const models = missing === "" ? await deviceModels({ lower: true }) : [];

async function run({ bytes, feeds }: DeviceModel, whole: boolean) {
  const session = await InferenceSession.create(bytes, {
    executionProviders: ["webgpu"],
    logSeverityLevel: 4,
    ...(whole && { extra: { session: { disable_cpu_ep_fallback: "1" } } }),
  });
  try {
    const inputs = [...feeds].map(([name, tensor]) => [name, toOrtTensor(tensor)]);
    const results = Object.entries(await session.run(Object.fromEntries(inputs)));
    return Object.fromEntries(
      results.map(([name, value]) => [name, fromOrtTensor(name, value as OrtTensor).numbers()]),
    );
  } finally {
    await session.release();
  }
}

/** A whole run on the device; for a graph with operators that are off it, a mixed one. */
async function onDevice(model: DeviceModel): Promise<Outcome> {
  try {
    return { outputs: await run(model, true), whole: true };
  } catch (error) {
    if (!/fallback to CPU EP/.test(String(error))) return { error: String(error) };
  }
  try {
    return { outputs: await run(model, false), whole: false };
  } catch (error) {
    return { error: String(error) };
  }
}

describe("rules on native WebGPU: each kind of node of their samples, or every sample (npm run test:long)", () => {
  if (missing !== "") it("there is a GPU", (context) => context.skip(missing));
  it.each(models)("$title", async (model) => {
    if (model.refused) expect(model.refused).toMatch(/webgpu does not compute .* rightly/);
    else await checkOnWebGpu(model, await onDevice(model));
  });
});
