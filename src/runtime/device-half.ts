import type { InferenceSession } from "onnxruntime-common";
import { DeviceError } from "../errors.ts";
import { Emit } from "../graph/emit.ts";
import { Graph } from "../graph/graph.ts";
import { graphToProto } from "../graph/proto.ts";
import { encodeModelProto } from "../onnx/codec.ts";
import { Tensor } from "../onnx/tensor.ts";
import type { Precision } from "../programs/options.ts";
import { halfPrecision } from "../programs/precision.ts";
import { ortMessage } from "./ort-probe.ts";
import { toOrtTensor } from "./ort-tensor.ts";
import type { OpenOnDevice } from "./placement.ts";

const advice =
  "train in float32 (--precision float32), or on the CPU (wasm in a browser), which rounds likewise";

/**
 * Checks that WebGPU computes in a precision here, by adding two numbers in it.
 * @throws DeviceError for bfloat16, and where the GPU or its driver has no float16 (the feature shader-f16)
 */
export async function checkHalf(precision: Precision, open: OpenOnDevice): Promise<void> {
  const half = halfPrecision(precision);
  if (!half) return;
  if (half.type === "bfloat16") {
    throw new DeviceError(
      `WebGPU has no bfloat16, which the precision ${precision} needs: give mixed, which is float16, or ${advice}`,
    );
  }
  let session: InferenceSession | undefined;
  try {
    session = await open.create(sumInHalf(), {
      executionProviders: [open.executionProvider],
      logSeverityLevel: 4,
    });
    await session.run({ x: toOrtTensor(Tensor.float("x", [1], [1])) });
  } catch (error) {
    // Where there is no device at all, the message says that.
    if (error instanceof DeviceError) throw error;
    throw new DeviceError(
      `the GPU, or its driver, does not compute in float16 (WebGPU's feature shader-f16), which the precision ${precision} needs: ${advice} (${ortMessage(error)})`,
    );
  } finally {
    await session?.release();
  }
}

/** x + x in float16. */
function sumInHalf(): Uint8Array {
  const graph = new Graph("half", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "" });
  const x = g.cast(graph.addInput("x", "float", [1]), "float16");
  graph.addOutput(g.cast(g.add(x, x), "float"));
  return encodeModelProto(graphToProto(graph, { irVersion: 9 }));
}
