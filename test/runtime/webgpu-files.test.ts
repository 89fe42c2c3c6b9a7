import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InferenceSession } from "onnxruntime-node";
import { afterAll, describe, expect, it } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import { arrayDataset, meanSquaredError, readModel, Trainer } from "../../src/index.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { onnx } from "../../src/onnx/schema.js";
import { Tensor } from "../../src/onnx/tensor.ts";
import { mappedFiles } from "../../src/runtime/data-folder-node.ts";
import { webGpuBackendOn } from "../../src/runtime/device-session.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { uniform } from "../helpers/lcg.ts";
import { runModel } from "../helpers/run-model.ts";
import { useGpu } from "../helpers/software-gpu.ts";

const missing = useGpu();
const folder = mkdtempSync(join(tmpdir(), "sorth-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const width = 160;

/** y = x · w · v, with w of 102 kB in a file beside the model. */
function write(): { readonly path: string; readonly whole: Uint8Array } {
  const b = new GraphBuilder(18);
  const h = b.op("MatMul", [b.input("x", ["batch", width]), b.weight("w", [width, width])], "h");
  b.output(b.op("MatMul", [h, b.weight("v", [width, 4])], "y"));
  const proto = graphToProto(b.graph, { irVersion: 8 });
  const whole = encodeModelProto(proto);
  const tensor = proto.graph?.initializer?.find(({ name }) => name === "w");
  writeFileSync(join(folder, "w.bin"), tensor?.rawData as Uint8Array);
  Object.assign(tensor ?? {}, {
    rawData: new Uint8Array(),
    externalData: [{ key: "location", value: "w.bin" }],
    dataLocation: onnx.TensorProto.DataLocation.EXTERNAL,
  });
  const path = join(folder, "model.onnx");
  writeFileSync(path, encodeModelProto(proto));
  return { path, whole };
}

describe.skipIf(missing !== "")("WebGPU in node reads external weights where they lie", () => {
  const { path, whole } = write();

  it("to run a model: the session is given no bytes of them", async () => {
    const sizes: number[] = [];
    const backend = webGpuBackendOn({
      create: (bytes, options) => {
        sizes.push(bytes.length);
        return InferenceSession.create(bytes, options);
      },
      ...{ executionProvider: "webgpu", probe: nodeProbe, files: mappedFiles },
    });
    const x = Tensor.float("x", [3, width], uniform("x", 3 * width));
    const session = await backend.openForward(await readModel(path), {});
    const y = (await session.run(new Map([["x", x]]))).get("y");
    const wanted = (await runModel(whole, { x })).y?.numbers() ?? [];
    const scale = Math.max(...wanted.map(Math.abs));
    const errors = y?.numbers().map((number, i) => Math.abs(number - (wanted[i] as number)) / scale) ?? [];
    expect(errors.length).toBe(12);
    expect(Math.max(...errors)).toBeLessThan(1e-5);
    expect(Math.max(...sizes)).toBeLessThan(5000);
    await session.release();
  });

  it("to train beside them, as on the CPU", async () => {
    const losses = async (backend: "webgpu" | "cpu") => {
      const options = { backend, objective: meanSquaredError(), batch: 4, trainable: /^v$/ };
      const trainer = await Trainer.create(await readModel(path), options);
      const data = arrayDataset(uniform("data", 8 * width), uniform("targets", 32), [width], {
        targetShape: [4],
      });
      const found: number[] = [];
      for await (const event of trainer.fit(data)) if (event.event === "step") found.push(event.loss);
      await trainer.release();
      return found;
    };
    const [gpu, cpu] = [await losses("webgpu"), await losses("cpu")];
    expect(gpu.length).toBe(2);
    gpu.forEach((loss, i) => {
      expect(Math.abs(loss / (cpu[i] as number) - 1)).toBeLessThan(1e-4);
    });
  });
});
