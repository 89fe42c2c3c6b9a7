import type { InferenceSession, Tensor as OrtTensor } from "onnxruntime-common";
import { describe, expect, it } from "vitest";
import type { Tensor } from "../../../src/onnx/tensor.ts";
import { toOrtTensor } from "../../../src/runtime/ort-tensor.ts";
import { useTab } from "../../browser/tab.ts";
import {
  checkOnBrowserWasm,
  checkOnBrowserWebGpu,
  type DeviceModel,
  deviceCases,
  deviceModel,
  deviceModels,
  type Outcome,
} from "./device-cases.ts";

declare const ort: typeof import("onnxruntime-web/webgpu");

/** A model and what it is fed, as text that goes to a page. */
interface Job {
  readonly model: string;
  readonly feeds: readonly { name: string; type: string; dims: readonly number[]; bytes: string }[];
}

const base64 = ({ buffer, byteOffset, byteLength }: Uint8Array) =>
  Buffer.from(buffer, byteOffset, byteLength).toString("base64");

const jobOf = (model: Uint8Array, feeds: ReadonlyMap<string, Tensor>): Job => ({
  model: base64(model),
  feeds: [...feeds].map(([name, tensor]) => ({
    ...{ name, type: toOrtTensor(tensor).type, dims: tensor.dims, bytes: base64(tensor.bytes) },
  })),
});

/** Runs models in the page, on WebGPU whole on the device if that is possible. */
async function runThere({ jobs, backend }: { jobs: readonly Job[]; backend: string }): Promise<Outcome[]> {
  const bytesOf = (text: string) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const arrays = {
    ...{ float32: Float32Array, float64: Float64Array, int32: Int32Array, int64: BigInt64Array },
    ...{ bool: Uint8Array, uint8: Uint8Array, int8: Int8Array },
  };
  const run = async ({ model, feeds }: Job, whole: boolean) => {
    const session: InferenceSession = await ort.InferenceSession.create(bytesOf(model), {
      executionProviders: [backend],
      logSeverityLevel: 4,
      ...(whole && { extra: { session: { disable_cpu_ep_fallback: "1" } } }),
    });
    const inputs: Record<string, OrtTensor> = {};
    for (const { name, type, dims, bytes } of feeds) {
      const data = new arrays[type as keyof typeof arrays](bytesOf(bytes).buffer);
      inputs[name] = new ort.Tensor(type as "float32", data as Float32Array, dims);
    }
    try {
      const outputs = Object.entries(await session.run(inputs));
      return Object.fromEntries(
        outputs.map(([name, { data }]) => [name, Array.from(data as Float32Array, Number)]),
      );
    } finally {
      await session.release();
    }
  };
  const results: Outcome[] = [];
  for (const job of jobs) {
    let whole = backend === "webgpu";
    try {
      const outputs = await run(job, whole).catch((error) => {
        if (!whole || !/fallback to CPU EP/.test(String(error))) throw error;
        whole = false;
        return run(job, false);
      });
      results.push({ outputs, whole });
    } catch (error) {
      results.push({ error: String(error) });
    }
  }
  return results;
}

const ops = [...new Set(deviceCases.map(({ op }) => op))];

/**
 * The models that run in the page. WebGPU there is the code of native WebGPU, on which webgpu-rules.test.ts runs the samples:
 * the first sample shows that the build for browsers has the operator.
 */
const onWasm = deviceModels({ lower: false });
async function modelsOf(op: string, backend: "wasm" | "webgpu"): Promise<DeviceModel[]> {
  if (backend === "wasm") return (await onWasm).filter((model) => model.op === op);
  const [first] = deviceCases.filter((one) => one.op === op);
  return first ? [await deviceModel(first, { lower: true })] : [];
}

describe.each(["wasm", "webgpu"] as const)("rules in Chromium on %s", (backend) => {
  const tab = useTab({ keepDevice: backend === "webgpu" });
  for (const op of ops) {
    it(op, async () => {
      const models = await modelsOf(op, backend);
      const runnable = models.filter(({ refused }) => !refused);
      const jobs = runnable.map(({ bytes, feeds }) => jobOf(bytes, feeds));
      const outcomes = await tab.page.evaluate(runThere, { jobs, backend });
      expect(outcomes).toHaveLength(runnable.length);
      for (const [i, model] of runnable.entries()) {
        await (backend === "webgpu" ? checkOnBrowserWebGpu : checkOnBrowserWasm)(
          model,
          outcomes[i] as Outcome,
        );
      }
      for (const { refused } of models)
        if (refused) expect(refused).toMatch(/webgpu does not compute .* rightly/);
    });
  }
});
