/**
 * Ways to write the gradients of a convolution, timed on ONNX Runtime's CPU. The rules' own forms are "rule";
 * docs/decisions.md explains the choice.
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
  /** Side of the image. */
  readonly side: number;
  readonly kernel: number;
  readonly stride: number;
  readonly group: number;
}

/** A layer whose padding keeps the image's size at stride 1. */
const layer = (
  [batch, inputs, outputs, side]: readonly [number, number, number, number],
  { kernel = 3, stride = 1, group = 1 } = {},
): Layer => ({ batch, inputs, outputs, side, kernel, stride, group });

const layers: Layer[] = [
  // Convolutions of the benchmark CNN, ResNet-18 and DenseNet-121, and large images.
  ...(
    [
      [32, 32, 64, 32],
      [32, 64, 128, 16],
      [16, 64, 64, 16],
      [16, 128, 128, 8],
      [16, 256, 256, 4],
      [8, 256, 256, 14],
    ] as const
  ).map((sizes) => layer(sizes)),
  ...(
    [
      [8, 128, 32, 16],
      [8, 128, 32, 8],
      [8, 16, 16, 64],
      [4, 64, 64, 56],
    ] as const
  ).map((sizes) => layer(sizes)),
  layer([16, 64, 128, 16], { stride: 2 }),
  // Few channels.
  layer([32, 3, 32, 32]),
  layer([16, 3, 32, 64], { stride: 2 }),
  layer([16, 3, 64, 64], { kernel: 7, stride: 2 }),
  layer([32, 1, 16, 28], { kernel: 5 }),
  // 1×1.
  ...(
    [
      [16, 960, 160, 2],
      [16, 384, 64, 4],
      [16, 144, 24, 16],
      [16, 64, 256, 28],
    ] as const
  ).map((sizes) => layer(sizes, { kernel: 1 })),
  layer([16, 64, 128, 16], { kernel: 1, stride: 2 }),
  // Depthwise.
  ...(
    [
      [16, 960, 2, 3],
      [16, 384, 4, 3],
      [16, 144, 16, 3],
      [16, 40, 16, 7],
      [16, 160, 4, 7],
      [8, 1152, 2, 5],
      [16, 64, 56, 3],
    ] as const
  ).map(([batch, channels, side, kernel]) =>
    layer([batch, channels, channels, side], { kernel, group: channels }),
  ),
  layer([16, 576, 576, 4], { stride: 2, group: 576 }),
  layer([16, 144, 144, 16], { stride: 2, group: 144 }),
];
const block = await channelBlock(nodeProbe);

/** Each variant as it is, and with its convolutions in blocks of channels where the CPU's pass puts them there. */
function inBothLayouts(variants: Readonly<Record<string, Variant>>): Record<string, Variant> {
  const blocked = Object.entries(variants).map(([name, build]): [string, Variant] => [
    `${name}, blocked`,
    (g, ...inputs) => {
      for (const output of build(g, ...inputs) ?? []) g.graph.addOutput(output);
      const { changed } = blockConvolutions({ block: block ?? 8 }).run(g.graph, {
        emit: g,
        probe: nodeProbe,
      }) as { changed: boolean };
      const outputs = g.graph.outputs.splice(0) as Typed[];
      return changed ? outputs : undefined;
    },
  ]);
  return { ...variants, ...(block ? Object.fromEntries(blocked) : {}) };
}

/** The images that each kernel position reads, in [N, C, …] (first = 2) or [N, …, C] (first = 1). */
function slices(g: Emit, x: Typed, each: Layer, first: number): Typed[] {
  const { kernel, stride } = each;
  const { output, begin } = geometryOf(each);
  const length = output[0] ?? 1;
  const end = Math.max(0, (length - 1) * stride + kernel - each.side - (begin[0] ?? 0));
  const around = (inside: number) =>
    x.shape.map((_, axis) => (axis >= first && axis < first + 2 ? inside : 0));
  const padded = g.pad(x, [...around(begin[0] ?? 0), ...around(end)]);
  return Array.from({ length: kernel ** 2 }, (_, position) =>
    g.slice(padded, [
      { axis: first, start: Math.floor(position / kernel), length, step: stride },
      { axis: first + 1, start: position % kernel, length, step: stride },
    ]),
  );
}

const swap = (g: Emit, x: Typed) => g.transpose(x, [1, 0, 2, 3]);

function denseKernelGradients(each: Layer): Record<string, Variant> {
  const { batch: n, inputs: c, outputs: o, kernel: k } = each;
  const geometry = geometryOf(each);
  const points = (geometry.output[0] ?? 1) ** 2;
  const fromRows = (g: Emit, rows: Typed) => g.transpose(g.reshape(rows, [o, k, k, c]), [0, 3, 1, 2]);
  const left = (g: Emit, dy: Typed) => g.reshape(swap(g, dy), [o, n * points]);
  const columns = (g: Emit, parts: Typed[]) =>
    g.reshape(
      g.concat(
        parts.map((part) => g.reshape(part, [o, c, 1])),
        2,
      ),
      [o, c, k, k],
    );
  return {
    rule: (g, x, dy) => [kernelGradient(g, x, dy, geometry, 1)],
    "a MatMul a position": (g, x, dy) => {
      const images = g.reshape(dy, [n, o, points]);
      return [
        columns(
          g,
          slices(g, x, each, 2).map((slice) =>
            g.reduceSum(g.matMul(images, g.transposeLast(g.reshape(slice, [n, c, points]))), [0]),
          ),
        ),
      ];
    },
    "a Gemm a position, batch folded": (g, x, dy) => [
      columns(
        g,
        slices(g, swap(g, x), each, 2).map((slice) =>
          g.gemm(left(g, dy), g.reshape(slice, [c, n * points]), { transB: true }),
        ),
      ),
    ],
    "a Gemm a position, on rows": (g, x, dy) => {
      const rows = slices(g, g.transpose(x, [0, 2, 3, 1]), each, 1);
      return [
        fromRows(
          g,
          g.concat(
            rows.map((slice) => g.gemm(left(g, dy), g.reshape(slice, [n * points, c]))),
            1,
          ),
        ),
      ];
    },
    "positions gathered, one MatMul": (g, x, dy) => {
      const gathered = g.reshape(g.concat(slices(g, x, each, 2), 1), [n, k * k * c, points]);
      const product = g.matMul(g.reshape(dy, [n, o, points]), g.transposeLast(gathered));
      return [fromRows(g, g.reduceSum(product, [0]))];
    },
    "positions gathered on rows, one Gemm": (g, x, dy) => {
      const gathered = g.concat(slices(g, g.transpose(x, [0, 2, 3, 1]), each, 1), 3);
      return [fromRows(g, g.gemm(left(g, dy), g.reshape(gathered, [n * points, k * k * c])))];
    },
    "Conv, samples as channels": (g, x, dy) => [
      swap(g, cut(g, g.conv(swap(g, x), swap(g, dy), correlation(each, 1)), k)),
    ],
  };
}

function depthwiseKernelGradients(each: Layer): Record<string, Variant> {
  const { batch: n, inputs: c, kernel: k } = each;
  return {
    rule: (g, x, dy) => [kernelGradient(g, x, dy, geometryOf(each), c)],
    "Mul and ReduceSum a position": (g, x, dy) => {
      const sums = slices(g, x, each, 2).map((slice) =>
        g.reshape(g.reduceSum(g.mul(slice, dy), [2, 3]), [n, c, 1]),
      );
      return [g.reshape(g.reduceSum(g.concat(sums, 2), [0]), [c, 1, k, k])];
    },
  };
}

const correlation = (each: Layer, group: number) => {
  const options = optionsOf(each);
  return { ...options, strides: options.dilations, dilations: options.strides, group };
};

/** The first k × k positions. */
const cut = (g: Emit, x: Typed, k: number) =>
  g.slice(x, [
    { axis: 2, start: 0, length: k },
    { axis: 3, start: 0, length: k },
  ]);

function inputGradients(each: Layer): Record<string, Variant> {
  const { kernel, stride, group, side } = each;
  const geometry = geometryOf(each);
  const [length = 1, begin = 0] = [geometry.output[0], geometry.begin[0]];
  const outputPadding = Array<number>(2).fill(side + 2 * begin - (length - 1) * stride - kernel);
  const variants: Record<string, Variant> = {
    rule: (g, w, dy) => [spreadWindows(g, dy, w, geometry, group)],
    ConvTranspose: (g, w, dy) => [g.convTranspose(dy, w, { ...optionsOf(each), outputPadding })],
  };
  if (stride > 1) return variants;
  const last = kernel - 1;
  variants["Conv, flipped kernel"] = (g, w, dy) => {
    const reversed = g.slice(group === 1 ? swap(g, w) : w, [
      { axis: 2, start: last, length: kernel, step: -1 },
      { axis: 3, start: last, length: kernel, step: -1 },
    ]);
    return [g.conv(dy, kernel === 1 ? swap(g, w) : reversed, optionsOf(each))];
  };
  return variants;
}

const optionsOf = (each: Layer) => {
  const { strides, dilations, begin, end } = geometryOf(each);
  return { strides, dilations, pads: [...begin, ...end], group: each.group };
};

function geometryOf({ side, kernel, stride }: Layer): WindowGeometry {
  const padding = kernel >> 1;
  const both = (number: number) => [number, number];
  return {
    kernel: both(kernel),
    strides: both(stride),
    dilations: both(1),
    begin: both(padding),
    end: both(padding),
    input: both(side),
    output: both(Math.floor((side + 2 * padding - kernel) / stride) + 1),
  };
}

for (const each of layers) {
  const { batch: n, inputs: c, outputs: o, side, kernel, stride, group } = each;
  const { output } = geometryOf(each);
  const shapes = { x: [n, c, side, side], w: [o, c / group, kernel, kernel], y: [n, o, ...output] };
  const title = `${n}×${c}→${o} channels${group > 1 ? ", depthwise" : ""}, ${side}×${side}, kernel ${kernel}, stride ${stride}`;
  const dense = group === 1;
  report(
    `dW ${title}`,
    await compare(
      [shapes.x, shapes.y],
      inBothLayouts(dense ? denseKernelGradients(each) : depthwiseKernelGradients(each)),
    ),
  );
  report(`dX ${title}`, await compare([shapes.w, shapes.y], inBothLayouts(inputGradients(each))));
  report(
    `y  ${title}`,
    await compare(
      [shapes.x, shapes.w],
      inBothLayouts({ Conv: (g, x, w) => [g.conv(x, w, optionsOf(each))] }),
    ),
  );
}
