/** Ways to write the gradient of an upsampling by 2; run as bench/gradients/convolution.ts. */
import { transposedAlong } from "../../src/autodiff/rules/axis-products.ts";
import { interpolationTaps } from "../../src/autodiff/rules/interpolation.ts";
import { string } from "../../src/graph/attribute.ts";
import { compare, report, type Variant } from "./harness.ts";

const method = {
  mode: "linear",
  coordinates: "half_pixel",
  nearestMode: "floor",
  cubicCoefficient: -0.75,
  excludeOutside: false,
  antialias: false,
};

for (const { batch, channels, side } of [
  { batch: 8, channels: 64, side: 32 },
  { batch: 4, channels: 64, side: 64 },
  { batch: 1, channels: 32, side: 256 },
]) {
  const [small, large] = [
    [batch, channels, side, side],
    [batch, channels, 2 * side, 2 * side],
  ];
  const planes = batch * channels;
  const banded =
    (mode: string, rows: number): Variant =>
    (g, dy) => {
      const resize = { from: side, to: 2 * side, scale: 2, roi: [0, 1] } as const;
      const nearest = { mode, coordinates: "asymmetric" };
      const taps = interpolationTaps(resize, { ...method, ...(mode === "nearest" ? nearest : {}) });
      const narrow = transposedAlong(g, dy as typeof dy & object, 3, taps, side, rows);
      return [transposedAlong(g, narrow, 2, taps, side, rows)];
    };
  const linear: Record<string, Variant> = {
    "a dense matrix an axis": banded("linear", 10_000),
    "bands of 64 rows": banded("linear", 64),
    "bands of 32 rows": banded("linear", 32),
    "bands of 16 rows": banded("linear", 16),
    "Pad by edges, Conv 4×4 with stride 2": (g, dy) => {
      const pads = g.int64s([0, 0, 1, 1, 0, 0, 1, 1]);
      const wide = [batch, channels, 2 * side + 2, 2 * side + 2];
      const padded = g.op("Pad", [dy ?? null, pads], wide, { attributes: { mode: string("edge") } });
      const weights = [0.25, 0.75, 0.75, 0.25];
      const kernel = Float32Array.from(
        { length: 16 },
        (_, i) => (weights[i >> 2] ?? 0) * (weights[i & 3] ?? 0),
      );
      const y = g.conv(
        g.reshape(padded, [planes, 1, 2 * side + 2, 2 * side + 2]),
        g.constant("float", [1, 1, 4, 4], kernel),
        { strides: [2, 2], pads: [0, 0, 0, 0], dilations: [1, 1], group: 1 },
      );
      return [g.reshape(y, small)];
    },
  };
  const name = `${batch}×${channels}, ${side}×${side} from twice that`;
  report(`Linear ×2: ${name}`, await compare([large], linear));

  const nearest: Record<string, Variant> = {
    "ReduceSum of both inner axes": (g, dy) => [
      g.reduceSum(g.reshape(dy as typeof dy & object, [batch, channels, side, 2, side, 2]), [3, 5]),
    ],
    "ReduceSum of one, then of the other": (g, dy) => {
      const rows = g.reduceSum(g.reshape(dy as typeof dy & object, [planes * side, 2, 2 * side]), [1]);
      return [g.reshape(g.reduceSum(g.reshape(rows, [planes * side * side, 2]), [1]), small)];
    },
    "rows by ReduceSum, columns by bands of 32": (g, dy) => {
      const rows = g.reduceSum(g.reshape(dy as typeof dy & object, [planes, side, 2, 2 * side]), [2]);
      const resize = { from: side, to: 2 * side, scale: 2, roi: [0, 1] } as const;
      const taps = interpolationTaps(resize, { ...method, mode: "nearest", coordinates: "asymmetric" });
      return [g.reshape(transposedAlong(g, rows, 2, taps, side, 32), small)];
    },
    "four slices": (g, dy) => {
      const part = (row: number, column: number) =>
        g.slice(dy as typeof dy & object, [
          { axis: 2, start: row, length: side, step: 2 },
          { axis: 3, start: column, length: side, step: 2 },
        ]);
      return [g.add(g.add(part(0, 0), part(0, 1)), g.add(part(1, 0), part(1, 1)))];
    },
    "bands of 32 rows": banded("nearest", 32),
    "AveragePool × 4": (g, dy) => {
      const attributes = {
        kernel_shape: { kind: "ints", value: [2, 2] },
        strides: { kind: "ints", value: [2, 2] },
      } as const;
      return [g.mul(g.op("AveragePool", [dy ?? null], small, { attributes }), 4)];
    },
    "Conv 2×2 of ones with stride 2": (g, dy) => [
      g.reshape(
        g.conv(
          g.reshape(dy as typeof dy & object, [planes, 1, 2 * side, 2 * side]),
          g.filled(1, [1, 1, 2, 2]),
          {
            strides: [2, 2],
            pads: [0, 0, 0, 0],
            dilations: [1, 1],
            group: 1,
          },
        ),
        small,
      ),
    ],
  };
  report(`Nearest ×2: ${name}`, await compare([large], nearest));
}
