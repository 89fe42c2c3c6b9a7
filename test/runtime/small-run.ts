import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import {
  arrayDataset,
  crossEntropy,
  type Dataset,
  type FitOptions,
  Model,
  Trainer,
  type TrainerOptions,
} from "../../src/index.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats, randomInts } from "../helpers/numbers.ts";

const features = 6;

/** Random samples of three classes, as the network takes them. */
export function clouds(name: string, size: number): Dataset {
  const y = Int32Array.from(randomInts(`${name} y`, size, 0, 3));
  return arrayDataset(randomFloats(`${name} x`, size * features), y, [features], { name });
}

/** Quantizes a value to 8 bits and back. */
function rounded(b: GraphBuilder, value: Value): Value {
  const scale = b.graph.addInitializer(Tensor.float("scale", [], [0.05]));
  const zero = b.graph.addInitializer(Tensor.of("zero", "uint8", [], Uint8Array.of(10)));
  return b.op(
    "DequantizeLinear",
    [b.op("QuantizeLinear", [value, scale, zero], "levels"), scale, zero],
    "rounded",
  );
}

/** Two layers that share a weight vector, BatchNormalization and Dropout: every option has something to act on. */
export function network(
  names: readonly [string, string] = ["fc1.weight", "fc2.weight"],
  quantized = false,
): Model {
  const b = new GraphBuilder(18);
  const x = b.input("x", ["batch", features]);
  const vector = (name: string, value: number) =>
    b.graph.addInitializer(Tensor.float(name, [8], new Float32Array(8).fill(value)));
  const shared = b.weight("shared.bias", [8]);
  let h = b.op("Gemm", [x, b.weight(names[0], [features, 8]), shared], "fc1");
  const [scale, mean] = [vector("bn.weight", 1), vector("bn.mean", 0)];
  h = b.op("BatchNormalization", [h, scale, vector("bn.bias", 0), mean, vector("bn.var", 1)], "bn");
  h = b.op("Dropout", [h, b.graph.addInitializer(Tensor.float("ratio", [], [0.25]))], "drop");
  h = b.op("Relu", [b.op("Gemm", [h, b.weight(names[1], [8, 8]), shared], "fc2")], "relu");
  if (quantized) h = rounded(b, h);
  b.graph.addOutput(b.op("Gemm", [h, b.weight("fc3.weight", [8, 3]), b.weight("fc3.bias", [3])], "logits"));
  return Model.fromProto(graphToProto(b.graph, { irVersion: 8 }));
}

/** Trains to the end. @returns the loss of every step */
export async function losses(trainer: Trainer, data: Dataset, options?: FitOptions): Promise<number[]> {
  const list: number[] = [];
  for await (const { event, loss } of trainer.fit(data, options)) if (event === "step") list.push(loss);
  return list;
}

export const train = clouds("train", 60);

export const plain: TrainerOptions = { objective: crossEntropy(), batch: 8, threads: 1 };

/** Trains to a step, as Ctrl-C would stop it, and leaves a checkpoint. */
export async function stoppedAt(
  step: number,
  model: Model,
  own: TrainerOptions,
  fit: FitOptions,
  where: string,
) {
  const trainer = await Trainer.create(model, own);
  const controller = new AbortController();
  const before: number[] = [];
  const options = { ...fit, signal: controller.signal, checkpoint: where };
  for await (const event of trainer.fit(train, options)) {
    if (event.event === "step") before.push(event.loss);
    if (event.event === "step" && event.step === step) controller.abort();
  }
  await trainer.release();
  return { where, before };
}
