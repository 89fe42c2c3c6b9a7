import { describe, expect, it } from "vitest";
import { kernelGradient } from "../../../src/autodiff/rules/convolution-gradients.ts";
import type { WindowGeometry } from "../../../src/autodiff/rules/window-geometry.ts";
import { Emit } from "../../../src/graph/emit.ts";
import { typed } from "../../../src/graph/emit-base.ts";
import { Graph } from "../../../src/graph/graph.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { encodeModelProto } from "../../../src/onnx/codec.ts";
import { elementCount, Tensor } from "../../../src/onnx/tensor.ts";
import { blockConvolutions, channelBlock } from "../../../src/passes/backends/block-convolutions.ts";
import { runPass } from "../../../src/passes/pass.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { maxAbs, randomFloats } from "../../helpers/numbers.ts";

interface Case {
  readonly note: string;
  readonly samples?: number;
  /** Channels of the image and of the gradient. */
  readonly channels: readonly [number, number];
  readonly kernel: readonly [number, number];
  readonly strides?: readonly [number, number];
  readonly dilations?: readonly [number, number];
  /** Top, left, bottom, right. */
  readonly pads?: readonly [number, number, number, number];
  readonly input?: readonly [number, number];
  /** Whether a convolution over samples is the form. */
  readonly taken: boolean;
}

const cases: readonly Case[] = [
  {
    note: "as many points as the image",
    channels: [16, 64],
    kernel: [3, 3],
    pads: [1, 1, 1, 1],
    taken: true,
  },
  { note: "no padding", channels: [16, 32], kernel: [5, 3], taken: true },
  {
    note: "few outputs: operands exchanged",
    channels: [48, 16],
    kernel: [3, 3],
    pads: [1, 1, 1, 1],
    taken: true,
  },
  { note: "exchanged, no padding", channels: [32, 16], kernel: [2, 4], taken: true },
  { note: "exchanged, asymmetric", channels: [32, 16], kernel: [3, 4], pads: [0, 2, 2, 1], taken: true },
  {
    note: "exchanged, because only the image has whole blocks",
    channels: [32, 10],
    kernel: [3, 3],
    taken: true,
  },
  {
    note: "few outputs, padded beyond the kernel",
    channels: [32, 16],
    kernel: [2, 2],
    pads: [3, 2, 0, 2],
    taken: true,
  },
  {
    note: "strides, and rows that no window reaches",
    channels: [32, 16],
    kernel: [3, 3],
    strides: [2, 3],
    input: [28, 43],
    taken: true,
  },
  {
    note: "dilated, asymmetric",
    channels: [16, 32],
    kernel: [3, 2],
    dilations: [2, 3],
    pads: [2, 0, 1, 3],
    taken: true,
  },
  {
    note: "three channels, large kernel",
    channels: [3, 32],
    kernel: [7, 7],
    strides: [2, 2],
    pads: [3, 3, 3, 3],
    input: [32, 30],
    taken: true,
  },
  { note: "one sample", samples: 1, channels: [16, 16], kernel: [3, 3], taken: true },
  { note: "samples of a whole block", samples: 16, channels: [16, 16], kernel: [3, 3], taken: false },
  { note: "no whole block", channels: [12, 20], kernel: [3, 3], taken: false },
  { note: "few points", channels: [16, 16], kernel: [3, 3], input: [12, 12], taken: false },
  { note: "one position", channels: [16, 16], kernel: [1, 1], taken: false },
];

function sizesOf({
  samples = 2,
  channels,
  kernel,
  strides = [1, 1],
  dilations = [1, 1],
  pads = [0, 0, 0, 0],
  input = [15, 16],
}: Case) {
  const output = input.map((length, axis) => {
    const padded = length + (pads[axis] ?? 0) + (pads[axis + 2] ?? 0);
    return (
      Math.floor((padded - (dilations[axis] ?? 1) * ((kernel[axis] ?? 1) - 1) - 1) / (strides[axis] ?? 1)) + 1
    );
  });
  const geometry: WindowGeometry = {
    kernel,
    strides,
    dilations,
    input,
    output,
    begin: pads.slice(0, 2),
    end: pads.slice(2),
  };
  const [read, given] = channels;
  return { geometry, shapes: { x: [samples, read, ...input], dy: [samples, given, ...output] } };
}

/** Σ dy · x over samples and windows, number by number in float64. */
function reference(
  { kernel, strides, dilations, begin, input, output }: WindowGeometry,
  shapes: { x: number[]; dy: number[] },
  x: Float32Array,
  dy: Float32Array,
): number[] {
  const [samples = 0, read = 0] = shapes.x;
  const [, given = 0] = shapes.dy;
  const [height = 0, width = 0] = input;
  const [rows = 0, columns = 0] = output;
  const at = (list: readonly number[], axis: number) => list[axis] ?? 0;
  const result: number[] = [];
  for (let k = 0; k < given; k++)
    for (let c = 0; c < read; c++)
      for (let p = 0; p < at(kernel, 0); p++)
        for (let q = 0; q < at(kernel, 1); q++) {
          let sum = 0;
          for (let n = 0; n < samples; n++)
            for (let i = 0; i < rows; i++) {
              const row = i * at(strides, 0) + p * at(dilations, 0) - at(begin, 0);
              if (row < 0 || row >= height) continue;
              for (let j = 0; j < columns; j++) {
                const column = j * at(strides, 1) + q * at(dilations, 1) - at(begin, 1);
                if (column < 0 || column >= width) continue;
                sum +=
                  (dy[((n * given + k) * rows + i) * columns + j] ?? 0) *
                  (x[((n * read + c) * height + row) * width + column] ?? 0);
              }
            }
          result.push(sum);
        }
  return result;
}

const numbersOf = (shapes: { x: number[]; dy: number[] }) => ({
  x: Float32Array.from(randomFloats("x", elementCount(shapes.x))),
  dy: Float32Array.from(randomFloats("dy", elementCount(shapes.dy))),
});

describe("gradients of kernels as convolutions over samples", () => {
  it.for(cases)("$note", async (one, { skip }) => {
    const block = await channelBlock(nodeProbe);
    if (!block) return skip("this processor has no blocked layout");
    const { geometry, shapes } = sizesOf(one);
    const numbers = numbersOf(shapes);
    const expected = reference(geometry, shapes, numbers.x, numbers.dy);
    const feeds = new Map(
      Object.entries(shapes).map(([name, shape]) => [name, Tensor.float(name, shape, numbers[name as "x"])]),
    );
    for (const form of ["portable", "standard", "in blocks"]) {
      const graph = new Graph("gradient", new Map([["", 18]]));
      const g = new Emit(graph, { prefix: "t/", ...(form !== "portable" && { channelBlock: block }) });
      const inputs = Object.entries(shapes).map(([name, shape]) =>
        typed(graph.addInput(name, "float", shape)),
      );
      const [x, dy] = inputs as [(typeof inputs)[0], (typeof inputs)[0]];
      graph.addOutput(kernelGradient(g, x, dy, geometry, 1));
      const ofSamples = graph.nodes.filter(
        ({ op, inputs: [images] }) => op === "Conv" && images?.shape?.[1] === shapes.x[0],
      );
      if (form !== "portable") expect(ofSamples, form).toHaveLength(one.taken ? 1 : 0);
      if (form === "in blocks") {
        const pass = blockConvolutions({ block });
        expect(await runPass(pass, graph, { emit: g, probe: nodeProbe })).toBe(one.taken ? 1 : 0);
      }
      const bytes = encodeModelProto(graphToProto(graph, { irVersion: 9 }));
      const [result] = (await nodeProbe.run(bytes, feeds)).values();
      expect(result?.dims).toEqual([one.channels[1], one.channels[0], ...one.kernel]);
      const actual = result?.numbers();
      const differences = expected.map((value, i) => value - (actual?.[i] ?? Number.NaN));
      expect(maxAbs(differences) / maxAbs(expected), form).toBeLessThan(2e-6);
    }
  });
});
