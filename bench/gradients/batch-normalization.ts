/** Ways to write BatchNormalization with batch statistics and its gradient; run as bench/gradients/convolution.ts. */
import { float, int } from "../../src/graph/attribute.ts";
import type { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { compare, report, type Variant } from "./harness.ts";

const epsilon = 1e-5;
const axes = [0, 2, 3];

for (const { channels, side } of [
  { channels: 64, side: 32 },
  { channels: 128, side: 16 },
]) {
  const shape = [32, channels, side, side];
  const column = (g: Emit, v: Typed) => g.reshape(v, [channels, 1, 1]);
  const inference = (g: Emit, x: Typed, scale: Typed, bias: Typed, mean: Typed, variance: Typed) =>
    g.op("BatchNormalization", [x, scale, bias, mean, variance], shape, {
      attributes: { epsilon: float(epsilon) },
    });
  const deviation = (g: Emit, variance: Typed) => g.reciprocal(g.sqrt(g.add(variance, epsilon)));
  const centred = (g: Emit, x: Typed) => g.sub(x, g.reduceMean(x, axes, true));
  const variants: Record<string, Variant> = {
    "rule: x − mean, its square's mean, scale, bias": (g, x, scale, bias) => {
      const d = centred(g, x);
      const a = g.mul(scale, deviation(g, g.reduceMean(g.square(d), axes)));
      return [g.add(g.mul(d, column(g, a)), column(g, bias))];
    },
    "ONNX Runtime's training form (CPU only)": (g, x, scale, bias, mean, variance) => {
      const attributes = { epsilon: float(epsilon), training_mode: int(1) };
      const statistic = { type: "float", shape: [channels] } as const;
      const outputs = [{ type: "float", shape }, statistic, statistic] as const;
      return g
        .multi("BatchNormalization", [x, scale, bias, mean, variance], outputs, { attributes })
        .slice(0, 1);
    },
    "the inference form with batch statistics": (g, x, scale, bias) => {
      const variance = g.reduceMean(g.square(centred(g, x)), axes);
      return [inference(g, x, scale, bias, g.reduceMean(x, axes), variance)];
    },
  };
  const parameters = Array.from({ length: 4 }, () => [channels]);
  const positive = (data: Float32Array, input: number) => {
    if (input === 4) data.set(data.map((value) => 1 + Math.abs(value)));
  };
  report(
    `BatchNormalization of 32×${channels}, ${side}×${side}`,
    await compare([shape, ...parameters], variants, { transform: positive }),
  );
  const backward: Record<string, Variant> = {
    "rule: a·dy + b·d + c": (g, dy, d, a) => {
      const [sum, moment] = [g.reduceSum(dy, axes), g.reduceSum(g.mul(dy, d), axes)];
      return [g.add(g.add(g.mul(dy, column(g, a)), g.mul(d, column(g, moment))), column(g, sum))];
    },
    "b·d + c by the inference form": (g, dy, d, a) => {
      const [sum, moment] = [g.reduceSum(dy, axes), g.reduceSum(g.mul(dy, d), axes)];
      const [mean, variance] = [g.filled(0, [channels]), g.filled(1 - epsilon, [channels])];
      return [g.add(g.mul(dy, column(g, a)), inference(g, d, moment, sum, mean, variance))];
    },
  };
  report(`its gradient to x, given x − mean`, await compare([shape, shape, [channels]], backward));
}
