/**
 * What convolutions, BatchNormalization and conversions cost on images and on rows, forward and with their gradients: CPU time
 * of one thread, both layouts in turns. Fits the coefficients of src/passes/layout/costs.ts to it.
 *
 *     npx tsx bench/layouts.ts [--rounds 15] [--output bench/results/layouts.json]
 */
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import * as ort from "onnxruntime-node";
import { scriptArguments } from "../scripts/arguments.ts";
import { rules } from "../src/autodiff/table.ts";
import { backward } from "../src/autodiff/walk.ts";
import { int } from "../src/graph/attribute.ts";
import { Emit } from "../src/graph/emit.ts";
import type { Typed } from "../src/graph/emit-base.ts";
import { Graph } from "../src/graph/graph.ts";
import { graphToProto } from "../src/graph/proto.ts";
import { encodeModelProto } from "../src/onnx/codec.ts";
import { elementCount } from "../src/onnx/tensor.ts";
import { type Lowering, loweringFor } from "../src/passes/backends/table.ts";
import { channelFeatures, conversionFeatures, convolutionFeatures } from "../src/passes/layout/costs.ts";
import { rowPatches } from "../src/passes/layout/row-patches.ts";
import { channelsLast, intoImage, intoRows, rowsShape } from "../src/passes/layout/rows.ts";
import { runPasses } from "../src/passes/pass.ts";
import { lowerBatchNorm } from "../src/passes/training/lower-batch-norm.ts";
import { nodeProbe } from "../src/runtime/probe-node.ts";
import { fitted } from "./fit.ts";

const { values: given } = scriptArguments(import.meta.url, {
  options: { rounds: { type: "string", default: "15" }, output: { type: "string" } },
});

/** Batch, channels in, channels out, kernel, stride, image. */
type Shape = readonly [n: number, c: number, k: number, kernel: number, stride: number, image: number];

/** Convolutions of ResNet-18, MobileNet-v2, EfficientNet-b0, ConvNeXt, DenseNet-121, U-Net and others, at several batches. */
const convolutions: readonly Shape[] = [
  ...([
    [16, 64, 64, 3, 1, 16],
    [16, 64, 128, 3, 2, 16],
    [16, 128, 128, 3, 1, 8],
    [16, 128, 256, 3, 2, 8],
  ] as const),
  ...([
    [16, 256, 256, 3, 1, 4],
    [16, 256, 512, 3, 2, 4],
    [16, 512, 512, 3, 1, 2],
    [16, 64, 128, 1, 2, 16],
  ] as const),
  ...([
    [16, 256, 512, 1, 2, 4],
    [16, 3, 64, 7, 2, 64],
    [16, 3, 32, 3, 2, 64],
    [32, 3, 32, 3, 1, 32],
  ] as const),
  ...([
    [32, 32, 64, 3, 1, 16],
    [32, 64, 128, 3, 1, 8],
    [8, 128, 32, 3, 1, 16],
    [8, 128, 32, 3, 1, 8],
  ] as const),
  ...([
    [8, 128, 32, 3, 1, 4],
    [8, 128, 32, 3, 1, 2],
    [8, 16, 16, 3, 1, 64],
    [8, 32, 32, 3, 1, 32],
  ] as const),
  ...([
    [8, 64, 64, 3, 1, 16],
    [2, 256, 256, 3, 1, 14],
    [8, 128, 128, 3, 1, 28],
    [4, 64, 64, 3, 1, 56],
  ] as const),
  ...([
    [1, 256, 256, 3, 1, 14],
    [1, 512, 512, 3, 1, 7],
    [64, 32, 32, 3, 1, 8],
    [16, 64, 64, 5, 1, 8],
  ] as const),
  ...([
    [16, 16, 96, 1, 1, 32],
    [16, 96, 24, 1, 1, 16],
    [16, 144, 24, 1, 1, 16],
    [16, 32, 192, 1, 1, 8],
  ] as const),
  ...([
    [16, 384, 64, 1, 1, 4],
    [16, 64, 384, 1, 1, 4],
    [16, 960, 160, 1, 1, 2],
    [16, 320, 1280, 1, 1, 2],
  ] as const),
  ...([
    [8, 16, 96, 1, 1, 32],
    [8, 240, 40, 1, 1, 8],
    [8, 672, 112, 1, 1, 4],
    [8, 1152, 192, 1, 1, 2],
  ] as const),
  ...([
    [8, 40, 10, 1, 1, 1],
    [8, 1152, 48, 1, 1, 1],
    [16, 40, 160, 1, 1, 16],
    [16, 160, 40, 1, 1, 16],
  ] as const),
  ...([
    [16, 320, 1280, 1, 1, 2],
    [8, 256, 128, 1, 1, 16],
    [8, 512, 128, 1, 1, 8],
    [8, 1024, 128, 1, 1, 4],
  ] as const),
  ...([
    [8, 256, 64, 1, 1, 56],
    [1, 64, 256, 1, 1, 56],
    [8, 16, 10, 1, 1, 64],
    [16, 256, 1024, 1, 1, 14],
  ] as const),
];

/** Batch, channels, image. */
const images: readonly (readonly [n: number, c: number, image: number])[] = [
  [16, 64, 32],
  [16, 64, 16],
  [16, 128, 8],
  [16, 256, 4],
  [16, 512, 2],
  [16, 960, 2],
  [8, 96, 32],
  [8, 240, 8],
  [8, 1152, 2],
  [16, 1280, 1],
  [8, 32, 16],
  [16, 24, 16],
];

const kinds = ["images", "rows"] as const;
type Kind = (typeof kinds)[number];
type Build = (
  g: Emit,
  input: (name: string, shape: readonly number[]) => Typed,
) => Promise<readonly Typed[]> | readonly Typed[];

/** y, dx and dw of a convolution. */
function convolution([n, c, k, kernel, stride, image]: Shape, kind: Kind): Build {
  const pad = (kernel - 1) >> 1;
  const output = Math.floor((image + 2 * pad - kernel) / stride) + 1;
  return (g, input) => {
    const space = [image, image];
    const rows = kind === "rows";
    const x = input("x", rows ? [n * image * image, c] : [n, c, ...space]);
    const w = input("w", rows ? [kernel * kernel * c, k] : [k, c, kernel, kernel]);
    const pair = [1, 1];
    const geometry = {
      kernel: pair.map(() => kernel),
      strides: pair.map(() => stride),
      dilations: pair,
      begin: pair.map(() => pad),
      end: pair.map(() => pad),
      input: space,
      output: pair.map(() => output),
    };
    const options = { strides: geometry.strides, dilations: pair, pads: [pad, pad, pad, pad], group: 1 };
    const patches = () =>
      kernel === 1 && stride === 1
        ? x
        : rowPatches(g, g.reshape(x, channelsLast([n, c, ...space])), geometry);
    const y = rows ? g.gemm(patches(), w) : g.conv(x, w, options);
    const dy = input("dy", y.shape);
    const wrt = c === 3 ? [w] : [x, w];
    const gradients = backward(g.graph, { wrt, seeds: [{ value: y, gradient: () => dy }], rules, emit: g });
    return [y, ...gradients.values()];
  };
}

/** BatchNormalization of a batch's own statistics, y and its gradients. */
function normalization(n: number, c: number, image: number, kind: Kind): Build {
  return async (g, input) => {
    const shape = [n, c, image, image];
    const x = input("x", kind === "rows" ? rowsShape(shape) : shape);
    const parameters = ["scale", "bias", "mean", "variance"].map((name) => input(name, [c]));
    const type = "float" as const;
    const outputs = [x.shape, [c], [c]].map((of) => ({ type, shape: of }));
    const attributes = { training_mode: int(1) };
    const [y] = g.multi("BatchNormalization", [x, ...parameters], outputs, { attributes }) as [Typed];
    const end = g.identity(y);
    const dy = input("dy", y.shape);
    const seeds = [{ value: y, gradient: () => dy }];
    const gradients = backward(g.graph, { wrt: [x, ...parameters.slice(0, 2)], seeds, rules, emit: g });
    await lowerBatchNorm().run(g.graph, { emit: g, probe: nodeProbe });
    return [end, ...gradients.values()];
  };
}

/** A change of layout. */
const conversion =
  (n: number, c: number, image: number, kind: Kind): Build =>
  (g, input) => {
    const shape = [n, c, image, image];
    const x = input("x", kind === "rows" ? shape : rowsShape(shape));
    return [kind === "rows" ? intoRows(g, x) : intoImage(g, x, shape)];
  };

/** A session that runs a build; its outputs are one number of each result, so that no large output is copied. */
async function opened(build: Build, lower: Lowering): Promise<() => Promise<number>> {
  const graph = new Graph("layouts", new Map([["", 18]]));
  const { channelBlock } = lower;
  const g = new Emit(graph, { prefix: "", ...(channelBlock && { channelBlock }) });
  const input = (name: string, shape: readonly number[]) => graph.addInput(name, "float", shape) as Typed;
  const results = await build(g, input);
  for (const result of results) {
    // ONNX Runtime moves a Slice in front of a Transpose, but not in front of a Reshape.
    const flat = g.reshape(result, [elementCount(result.shape)]);
    graph.addOutput(g.identity(g.slice(flat, [{ axis: 0, start: 0, length: 1 }])));
  }
  graph.prune();
  await runPasses(lower.passes, graph, { emit: g, probe: nodeProbe });
  const session = await ort.InferenceSession.create(encodeModelProto(graphToProto(graph, { irVersion: 9 })), {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  const feeds = Object.fromEntries(
    graph.inputs.map(({ name, shape = [] }) => {
      const numbers = Float32Array.from(
        { length: elementCount(shape) },
        (_, i) => ((i * 37) % 101) / 101 - 0.4,
      );
      return [name, new ort.Tensor("float32", numbers, shape)];
    }),
  );
  return async () => {
    const start = process.cpuUsage();
    await session.run(feeds);
    const { user, system } = process.cpuUsage(start);
    return user + system;
  };
}

/** CPU time of both layouts, in microseconds: lower quartiles, because other work on the machine only adds time. */
async function compared(build: (kind: Kind) => Build, lower: Lowering): Promise<Record<Kind, number>> {
  const runs = await Promise.all(
    kinds.map(async (kind) => [kind, await opened(build(kind), lower)] as const),
  );
  const times: Record<Kind, number[]> = { images: [], rows: [] };
  for (const [, run] of runs) for (let i = 0; i < 2; i++) await run();
  for (let round = 0; round < Number(given.rounds); round++) {
    for (const [kind, run] of runs) times[kind].push(await run());
  }
  const quartile = (list: number[]) => list.sort((a, b) => a - b)[list.length >> 2] ?? 0;
  return { images: quartile(times.images), rows: quartile(times.rows) };
}

const lower = await loweringFor("cpu", nodeProbe);
const measured: { convolutions: unknown[]; normalizations: unknown[]; conversions: unknown[] } = {
  convolutions: [],
  normalizations: [],
  conversions: [],
};
type Row = readonly [features: readonly number[], time: number];
const samples: Record<string, Row[]> = {};
const learn = (name: string, features: readonly number[], time: number) => {
  samples[name] = [...(samples[name] ?? []), [features, time]];
};

for (const shape of convolutions) {
  const [n, c, k, kernel, stride, image] = shape;
  const times = await compared((kind) => convolution(shape, kind), lower);
  const output = Math.ceil(image / stride);
  const sizes = {
    samples: n,
    positions: { input: image ** 2, output: output ** 2 },
    channels: c,
    units: k,
    kernel: kernel ** 2,
    gradients: { input: c !== 3, kernel: true },
  };
  measured.convolutions.push({ sizes, ...times });
  const features = convolutionFeatures(sizes);
  for (const kind of kinds)
    learn(`${kernel === 1 ? "pointwise" : "windows"} ${kind}`, features[kind], times[kind]);
  console.log(
    `${n}, ${c} → ${k}, ${kernel}×${kernel}/${stride}, ${image}²: images ${times.images}, rows ${times.rows} µs`,
  );
}
for (const [n, c, image] of images) {
  const times = await compared((kind) => normalization(n, c, image, kind), lower);
  measured.normalizations.push({ samples: n, channels: c, positions: image ** 2, ...times });
  const features = channelFeatures(n * c * image ** 2, image ** 2);
  for (const kind of kinds) learn(`normalization ${kind}`, features[kind], times[kind]);
  console.log(`BatchNormalization ${n}, ${c}, ${image}²: images ${times.images}, rows ${times.rows} µs`);
}
for (const [n, c, image] of images.filter(([, , size]) => size > 1)) {
  const times = await compared((kind) => conversion(n, c, image, kind), lower);
  measured.conversions.push({ samples: n, channels: c, positions: image ** 2, ...times });
  for (const kind of kinds) learn("conversion", conversionFeatures(n * c * image ** 2), times[kind]);
  console.log(`conversion ${n}, ${c}, ${image}²: to images ${times.images}, to rows ${times.rows} µs`);
}

const coefficients = Object.fromEntries(Object.entries(samples).map(([name, rows]) => [name, fitted(rows)]));
console.log(coefficients);
if (given.output) {
  const machine = { processor: cpus()[0]?.model, date: new Date().toISOString().slice(0, 10), threads: 1 };
  writeFileSync(
    given.output,
    `${JSON.stringify({ machine, unit: "µs of CPU time", coefficients, ...measured }, null, 1)}\n`,
  );
}
