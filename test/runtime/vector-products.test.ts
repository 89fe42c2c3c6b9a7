import { InferenceSession, Tensor as OrtTensor } from "onnxruntime-node";
import { expect, test } from "vitest";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  buildStep,
  evaluateModel,
  inspect,
  Model,
  meanSquaredError,
  sgd,
} from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { cpuBackend } from "../../src/runtime/cpu-node.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { maxDifference, randomFloats } from "../helpers/numbers.ts";
import { stillThere } from "./still-there.ts";

const [batch, length, width] = [2, 5, 3];
const x = randomFloats("vector products", batch * length * width);
const v = randomFloats("v", length);

/** Time pooled by a learned vector, `y = x.mT @ v`, and as a second factor `n / |n|` a computed vector, as spectral_norm has it. */
function pooling(): Model {
  const b = new GraphBuilder(18);
  const turned = b.op("Transpose", [b.input("x", ["batch", length, width])], "turned", { perm: [0, 2, 1] });
  const norm = b.op("ReduceL2", [b.weight("v", [length])], "norm");
  const unit = b.op("Div", [b.graph.valueNamed("v"), norm], "unit");
  const [first, second] = [
    b.op("MatMul", [turned, b.graph.valueNamed("v")], "first"),
    b.op("MatMul", [turned, unit], "second"),
  ];
  b.output(b.op("Add", [first, second], "y"));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 9 }));
}

/** y[n, j] = Σ_t x[n, t, j] · v[t] · (1 + 1/|v|) */
const scale = 1 + 1 / Math.hypot(...v);
const right = Float64Array.from({ length: batch * width }, (_, i) => {
  const [n, j] = [Math.floor(i / width), i % width];
  return scale * v.reduce((sum, weight, t) => sum + weight * (x[(n * length + t) * width + j] ?? 0), 0);
});
const labels = new Float32Array(batch * width);
const loss = right.reduce((sum, y) => sum + y * y, 0) / right.length;

test("a matrix that is transposed in front of a vector is still multiplied wrongly", async () => {
  const session = await InferenceSession.create(pooling().bytes, { logSeverityLevel: 4 });
  const { y } = await session.run({ x: new OrtTensor("float32", x, [batch, length, width]) });
  await session.release();
  const error = maxDifference([...((y?.data ?? []) as Float32Array)], [...right]);
  stillThere(error > 0.1, "the pass vectorProducts and isTransposedTimesVector");
});

test("train and evaluate compute it as ONNX defines it, and inspect says where other sessions do not", async () => {
  const model = pooling();
  const step = await buildStep(model, { objective: meanSquaredError(), optimizer: sgd(), batch });
  const session = await cpuBackend.openStep(step, {});
  const { scalars } = step.ports;
  const [result] = await session.run(
    new Map([
      ["x", Tensor.float("x", [batch, length, width], x)],
      ["labels", Tensor.float("labels", [batch, width], labels)],
      [scalars.learningRate, Tensor.float(scalars.learningRate, [], [0])],
      [scalars.step, Tensor.float(scalars.step, [], [1])],
    ]),
  );
  await session.release();
  expect(result?.loss).toBeCloseTo(loss, 5);
  const data = arrayDataset(x, labels, [length, width], { targetShape: [width] });
  expect((await evaluateModel(model, data, { objective: meanSquaredError() })).loss).toBeCloseTo(loss, 5);
  expect((await inspect(model)).advice.join(" ")).toContain('"first"');
});
