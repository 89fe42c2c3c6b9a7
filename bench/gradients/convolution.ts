/**
 * Ways to write the gradients of a convolution (3×3, padding 1), timed on ONNX Runtime's CPU. The rules' own forms are
 * "rule"; docs/decisions.md explains the choice.
 *
 * npx tsx bench/gradients/convolution.ts             wall time with 2 threads, for a quiet machine
 * THREADS=1 npx tsx bench/gradients/convolution.ts   processor time with 1 thread
 */
import { kernelGradient, spreadWindows } from "../../src/autodiff/rules/convolution-gradients.ts";
import type { WindowGeometry } from "../../src/autodiff/rules/window-geometry.ts";
import type { Emit } from "../../src/graph/emit.ts";
import type { Typed } from "../../src/graph/emit-base.ts";
import { blockConvolutions, channelBlock } from "../../src/passes/backends/block-convolutions.ts";
import { nodeProbe } from "../../src/runtime/probe-node.ts";
import { compare, report, type Variant } from "./harness.ts";

interface Layer {
  readonly batch: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly side: number;
}

/** The convolutions of the benchmark CNN, and one with a small image. */
const layers: Layer[] = [
  { batch: 32, inputs: 3, outputs: 32, side: 32 },
  { batch: 32, inputs: 32, outputs: 64, side: 32 },
  { batch: 32, inputs: 64, outputs: 128, side: 16 },
  { batch: 16, inputs: 256, outputs: 256, side: 8 },
];
const options = { strides: [1, 1], dilations: [1, 1], pads: [1, 1, 1, 1], group: 1 };
const block = await channelBlock(nodeProbe);

for (const layer of layers) {
  const { batch: n, inputs: c, outputs: o, side } = layer;
  const shapes = { x: [n, c, side, side], w: [o, c, 3, 3], y: [n, o, side, side] };
  const title = `${n}×${c}→${o} channels, ${side}×${side}`;
  report(`dW ${title}`, await compare([shapes.x, shapes.y], kernelGradients(layer)));
  report(`dX ${title}`, await compare([shapes.w, shapes.y], inputGradients(layer)));
  const forward: Record<string, Variant> = { Conv: (g, x, w) => [g.conv(x, w, options)] };
  const whole = block && c % block === 0 && o % block === 0;
  if (whole) forward.blocked = (g, x, w) => inBlocks(g, g.conv(x, w, options), block);
  report(`y  ${title}`, await compare([shapes.x, shapes.w], forward));
}

/** The nine shifted images [n, c, side, side]. */
function slices(g: Emit, x: Typed, side: number): Typed[] {
  const padded = g.pad(x, [0, 0, 1, 1, 0, 0, 1, 1]);
  return Array.from({ length: 9 }, (_, position) =>
    g.slice(padded, [
      { axis: 2, start: Math.floor(position / 3), length: side },
      { axis: 3, start: position % 3, length: side },
    ]),
  );
}

function kernelGradients({ batch: n, inputs: c, outputs: o, side }: Layer): Record<string, Variant> {
  const points = side * side;
  const geometry = geometryOf(side);
  const kernel = (g: Emit, rows: Typed) => g.transpose(g.reshape(rows, [o, 3, 3, c]), [0, 3, 1, 2]);
  const swap = (g: Emit, x: Typed) => g.transpose(x, [1, 0, 2, 3]);
  return {
    rule: (g, x, dy) => [kernelGradient(g, x, dy, geometry, 1)],
    "a MatMul a position": (g, x, dy) => {
      const left = g.reshape(dy, [n, o, points]);
      const parts = slices(g, x, side).map((slice) =>
        g.reduceSum(g.matMul(left, g.transposeLast(g.reshape(slice, [n, c, points]))), [0]),
      );
      return [
        g.reshape(
          g.concat(
            parts.map((part) => g.reshape(part, [o, c, 1])),
            2,
          ),
          [o, c, 3, 3],
        ),
      ];
    },
    "a Gemm a position, batch folded": (g, x, dy) => {
      const left = g.reshape(swap(g, dy), [o, n * points]);
      const parts = slices(g, swap(g, x), side).map((slice) =>
        g.reshape(g.gemm(left, g.reshape(slice, [c, n * points]), { transB: true }), [o, c, 1]),
      );
      return [g.reshape(g.concat(parts, 2), [o, c, 3, 3])];
    },
    "positions gathered, one MatMul": (g, x, dy) => {
      const gathered = g.reshape(g.concat(slices(g, x, side), 1), [n, 9 * c, points]);
      const product = g.matMul(g.reshape(dy, [n, o, points]), g.transposeLast(gathered));
      return [kernel(g, g.reduceSum(product, [0]))];
    },
    "positions gathered, batch folded, one Gemm": (g, x, dy) => {
      const gathered = g.reshape(g.concat(slices(g, swap(g, x), side), 0), [9 * c, n * points]);
      return [kernel(g, g.gemm(g.reshape(swap(g, dy), [o, n * points]), gathered, { transB: true }))];
    },
  };
}

function inputGradients({ inputs: c, outputs: o, side }: Layer): Record<string, Variant> {
  const flipped = (g: Emit, w: Typed) =>
    g.slice(g.transpose(w, [1, 0, 2, 3]), [
      { axis: 2, start: 2, length: 3, step: -1 },
      { axis: 3, start: 2, length: 3, step: -1 },
    ]);
  const variants: Record<string, Variant> = {
    rule: (g, w, dy) => [spreadWindows(g, dy, w, geometryOf(side), 1)],
    ConvTranspose: (g, w, dy) => [g.convTranspose(dy, w, { ...options, outputPadding: [0, 0] })],
    "Conv, flipped kernel": (g, w, dy) => [g.conv(dy, flipped(g, w), options)],
  };
  if (block && c % block === 0 && o % block === 0) {
    variants["Conv, flipped kernel, blocked"] = (g, w, dy) =>
      inBlocks(g, g.conv(dy, flipped(g, w), options), block);
  }
  return variants;
}

function inBlocks(g: Emit, y: Typed, size: number): readonly Typed[] {
  g.graph.addOutput(y);
  void blockConvolutions({ block: size }).run(g.graph, { emit: g, probe: nodeProbe });
  return g.graph.outputs.splice(0) as Typed[];
}

function geometryOf(side: number): WindowGeometry {
  const { strides, dilations } = options;
  const [input, output] = [
    [side, side],
    [side, side],
  ];
  return { kernel: [3, 3], strides, dilations, begin: [1, 1], end: [1, 1], input, output };
}
