/** Ways to write the gradient of a 2×2 max-pooling; run as bench/gradients/convolution.ts. */
import { maxPoolGradient } from "../../src/autodiff/rules/max-pool.ts";
import { ints } from "../../src/graph/attribute.ts";
import { compare, report, type Variant } from "./harness.ts";

const attributes = { kernel_shape: ints([2, 2]), strides: ints([2, 2]) };

for (const { channels, side } of [
  { channels: 64, side: 32 },
  { channels: 128, side: 16 },
]) {
  const half = side / 2;
  const [full, pooled] = [
    [32, channels, side, side],
    [32, channels, half, half],
  ];
  const geometry = {
    kernel: [2, 2],
    strides: [2, 2],
    dilations: [1, 1],
    begin: [0, 0],
    end: [0, 0],
    input: [side, side],
    output: [half, half],
  };
  const variants: Record<string, Variant> = {
    "rule: products with constant matrices": (g, x, dy) => {
      const y = g.op("MaxPool", [x], pooled, { attributes });
      return [maxPoolGradient(g, x, y, dy, geometry)];
    },
    "broadcast over inner axes, ties to all": (g, x, dy) => {
      const spread = [32, channels, half, 1, half, 1];
      const y = g.reshape(g.op("MaxPool", [x], pooled, { attributes }), spread);
      const attains = g.equal(g.reshape(x, [32, channels, half, 2, half, 2]), y);
      return [g.reshape(g.mul(g.cast(attains, "float"), g.reshape(dy, spread)), full)];
    },
    "Indices and MaxUnpool (CPU only)": (g, x, dy) => {
      const outputs = [
        { type: "float", shape: pooled },
        { type: "int64", shape: pooled },
      ] as const;
      const [, indices] = g.multi("MaxPool", [x], outputs, { attributes });
      return [g.op("MaxUnpool", [dy, indices ?? null], full, { attributes })];
    },
  };
  report(
    `MaxPool 2×2 of 32×${channels}, ${side}×${side}, forward included`,
    await compare([full, pooled], variants),
  );
}
