import { zipSync } from "fflate";
import type { Value } from "../../src/graph/node.ts";
import { graphToProto } from "../../src/graph/proto.ts";
import { encodeModelProto } from "../../src/onnx/codec.ts";
import { Tensor } from "../../src/onnx/tensor.ts";
import { npyBytes } from "../data/npy-bytes.ts";
import { GraphBuilder } from "../helpers/build-graph.ts";
import { randomFloats } from "../helpers/numbers.ts";

// Models and data whose numbers break arithmetic: hostile-numbers.test.ts gives them to every command.

export const features = 4;
export const samples = 12;

interface Kind {
  readonly hidden?: number;
  readonly classes?: number;
  /** Changes the first layer's weights. */
  readonly weight?: (numbers: Float32Array) => void;
  readonly variance?: number;
  readonly scale?: number;
  readonly batch?: number | string;
}

/** x [batch, 4] → Gemm → BatchNormalization → Relu → Gemm → logits. */
export function model({
  hidden = 5,
  classes = 3,
  weight,
  variance = 1,
  scale = 1,
  batch = "batch",
}: Kind = {}): Uint8Array {
  const b = new GraphBuilder(18);
  const initial = (
    name: string,
    dims: readonly number[],
    change?: (numbers: Float32Array) => void,
  ): Value => {
    const numbers = Float32Array.from(
      randomFloats(
        name,
        dims.reduce((a, dim) => a * dim, 1),
      ),
    );
    change?.(numbers);
    return b.graph.addInitializer(Tensor.float(name, dims, numbers));
  };
  const filled = (name: string, value: number) => initial(name, [hidden], (numbers) => numbers.fill(value));
  const x = b.input("x", [batch, features]);
  const h = b.op(
    "Gemm",
    [x, initial("fc1.weight", [hidden, features], weight), filled("fc1.bias", 0)],
    "fc1",
    {
      transB: 1,
    },
  );
  const statistics = [
    filled("bn.scale", scale),
    filled("bn.bias", 0.5),
    filled("bn.mean", 0),
    filled("bn.var", variance),
  ];
  const normalized = b.op("BatchNormalization", [h, ...statistics], "bn");
  const last = [b.op("Relu", [normalized], "relu"), initial("fc2.weight", [classes, hidden])];
  b.output(b.op("Gemm", last, "logits", { transB: 1 }));
  return encodeModelProto(graphToProto(b.graph, { irVersion: 8 }));
}

/** The models, by name. */
export const models: Readonly<Record<string, Kind>> = {
  good: {},
  nan: { weight: (w) => w.fill(Number.NaN, 5, 6) },
  infinite: { weight: (w) => w.fill(Number.POSITIVE_INFINITY, 5, 6) },
  huge: { weight: (w) => w.fill(3e38) },
  denormal: { weight: (w) => w.fill(1e-42) },
  dead: { weight: (w) => w.fill(0, 0, 2 * features) },
  "one-unit": { hidden: 1 },
  "one-class": { classes: 1 },
  "zero-size": { hidden: 0 },
  "negative-variance": { variance: -1 },
  "scale-0": { scale: 0 },
  "scale-negative": { scale: -2 },
  "batch-1e12": { batch: 1e12 },
};

function npz(x: (numbers: Float32Array) => void, count = samples, label = (i: number) => i % 3): Uint8Array {
  const numbers = Float32Array.from(randomFloats("hostile x", count * features));
  x(numbers);
  const y = BigInt64Array.from({ length: count }, (_, i) => BigInt(label(i)));
  return zipSync({
    "x.npy": npyBytes({ descr: "<f4", shape: [count, features], data: numbers }),
    "y.npy": npyBytes({ descr: "<i8", shape: [count], data: y }),
  });
}

const keep = () => {};
/** Archives of samples, by name. */
export const data: Readonly<Record<string, Uint8Array>> = {
  plain: npz(keep),
  "nan-data": npz((x) => x.fill(Number.NaN, 9, 10)),
  "infinite-data": npz((x) => x.fill(Number.NEGATIVE_INFINITY, 9, 10)),
  "huge-data": npz((x) => x.fill(1e38)),
  "denormal-data": npz((x) => x.fill(1e-42)),
  constant: npz((x) => x.fill(1)),
  "one-sample": npz(keep, 1),
  empty: npz(keep, 0),
  "same-class": npz(keep, samples, () => 1),
};
