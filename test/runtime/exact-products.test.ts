import { expect, test } from "vitest";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import type { DataTypeName } from "../../src/onnx/data-types.ts";
import { Model } from "../../src/onnx/model.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { cpuBackend } from "../../src/runtime/cpu-node.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { maxAbs, maxDifference, randomFloats } from "../helpers/numbers.ts";
import { runModel } from "../helpers/run-model.ts";
import { stillThere } from "./still-there.ts";

const [rows, columns, block] = [64, 48, 32];

/** A product with a weight that is stored in a few bits. */
function product(type: DataTypeName, form: "tensor" | "channel" | "block"): Model {
  const b = new GraphBuilder(21);
  const bytes = Uint8Array.from(
    { length: (rows * columns) / (type === "uint4" ? 2 : 1) },
    (_, i) => (i * 7919 + (i >> 5) * 13) % 256,
  );
  const levels = type === "int8" ? new Int8Array(bytes.buffer) : bytes;
  const weight = b.graph.addInitializer(Tensor.of("w", type, [rows, columns], levels));
  const dims = { tensor: [], channel: [columns], block: [rows / block, columns] }[form];
  const scales = Array.from({ length: dims.reduce((a, dim) => a * dim, 1) }, (_, i) => 0.01 + (i % 7) / 500);
  const read: Value[] = [weight, b.graph.addInitializer(Tensor.float("s", dims, scales))];
  const at = form === "block" ? { axis: 0, block_size: block } : { axis: 1 };
  const dequantized = b.op("DequantizeLinear", read, "dequantized", at);
  return Model.fromProto(graphToProto(b.output(b.op("MatMul", [b.input("x", [4, rows]), dequantized], "y"))));
}

test.each([
  ["int8", "tensor"],
  ["int8", "channel"],
  ["int8", "block"],
  ["uint8", "block"],
  ["uint4", "block"],
] as const)("sessions compute products with %s (one scale a %s) in float32", async (type, form) => {
  const model = product(type, form);
  const x = Tensor.float("x", [4, rows], randomFloats("x", 4 * rows));
  const exact = (await runModel(model.bytes, { x }, { optimize: false })).y?.numbers() ?? [];
  const error = (numbers: readonly number[] = []) => maxDifference(numbers, exact) / maxAbs(exact);
  // What happens without: ONNX Runtime rounds x to int8.
  const rounded = (await runModel(model.bytes, { x })).y?.numbers();
  stillThere(error(rounded) > 1e-4, "qdq_matmulnbits_accuracy_level of every session");
  const session = await cpuBackend.openForward(model, {});
  const feeds = new Map([["x", x]]);
  expect(error((await session.run(feeds)).get("y")?.numbers())).toBeLessThan(1e-6);
  await session.release();
  expect(error((await nodeProbe.run(model, feeds)).get("y")?.numbers())).toBeLessThan(1e-6);
});
