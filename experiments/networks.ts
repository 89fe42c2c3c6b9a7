import { ModelBuilder } from "../models/model-builder.ts";
import { decodeModel, type Model } from "../src/index.ts";
import { encodeModelProto } from "../src/onnx/codec.ts";
import { randomStream } from "../src/random.ts";

/** Networks of the experiments, small enough for two cores: seed → untrained network. */
const builders = {
  /** 784-128-64-10, like models/mlp.onnx. */
  mlp: (seed: number) => perceptron(seed, [128, 64]),
  /** 784-512-256-10: the size at which the source's sum over pairs is 9.5e6. */
  "wide-mlp": (seed: number) => perceptron(seed, [512, 256]),
  /** Three convolutions, 28×28×1 → 14×14×16 → 7×7×32 → 7×7×32, mean over positions, 10 classes. */
  cnn: (seed: number) => convolutions(seed, false),
  /** The same with BatchNormalization after each convolution. */
  "cnn-bn": (seed: number) => convolutions(seed, true),
  /** PointNet without its transforms: 1×1 convolutions on 128 points, maximum over the points, two dense layers. */
  pointnet: (seed: number) => points(seed, false),
  /** The same with BatchNormalization after each 1×1 convolution, like models/pointnet.onnx. */
  "pointnet-bn": (seed: number) => points(seed, true),
};

/** Name of a network. */
export type NetworkName = keyof typeof builders;

/** A network with initial weights from a seed, with PyTorch's distributions. */
export const network = (name: NetworkName, seed: number): Model =>
  decodeModel(encodeModelProto(builders[name](seed).toProto()));

function perceptron(seed: number, hidden: readonly number[]): ModelBuilder {
  const m = new ModelBuilder("mlp", {
    input: "x",
    sample: [1, 28, 28],
    random: randomStream("weights", seed),
  });
  const top = hidden.reduce(
    (x, units, i) => m.relu(`relu${i + 1}`, m.linear(`fc${i + 1}`, x, units)),
    m.flatten("flatten", m.input),
  );
  return m.output(m.linear("logits", top, 10));
}

function convolutions(seed: number, batchNorm: boolean): ModelBuilder {
  const m = new ModelBuilder("cnn", {
    input: "x",
    sample: [1, 28, 28],
    random: randomStream("weights", seed),
  });
  const layers = [
    { channels: 16, kernel: 5, stride: 2 },
    { channels: 32, kernel: 3, stride: 2 },
    { channels: 32, kernel: 3, stride: 1 },
  ];
  const top = layers.reduce((x, { channels, kernel, stride }, i) => {
    const y = m.conv(`conv${i + 1}`, x, channels, kernel, { stride, bias: !batchNorm });
    return m.relu(`relu${i + 1}`, batchNorm ? m.batchNorm(`bn${i + 1}`, y) : y);
  }, m.input);
  return m.output(m.linear("logits", m.flatten("flatten", m.globalAveragePool("pool", top)), 10));
}

function points(seed: number, batchNorm: boolean): ModelBuilder {
  const m = new ModelBuilder("pointnet", {
    input: "points",
    sample: [3, 128],
    random: randomStream("weights", seed),
  });
  const top = [32, 64, 128].reduce((x, channels, i) => {
    const y = m.conv(`conv${i + 1}`, x, channels, 1, { bias: !batchNorm });
    return m.relu(`relu${i + 1}`, batchNorm ? m.batchNorm(`bn${i + 1}`, y) : y);
  }, m.input);
  return m.output(m.linear("logits", m.relu("relu4", m.linear("fc1", m.maxOverLast("max", top), 64)), 10));
}
