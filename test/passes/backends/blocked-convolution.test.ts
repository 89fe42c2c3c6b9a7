import { expect, test } from "vitest";
import { kernelGradient, spreadWindows } from "../../../src/autodiff/rules/convolution-gradients.ts";
import { int, ints } from "../../../src/graph/attribute.ts";
import { Emit } from "../../../src/graph/emit.ts";
import { type Typed, typed } from "../../../src/graph/emit-base.ts";
import { Graph } from "../../../src/graph/graph.ts";
import { graphToProto } from "../../../src/graph/proto.ts";
import { encodeModelProto } from "../../../src/onnx/codec.ts";
import { elementCount, Tensor } from "../../../src/onnx/tensor.ts";
import { blockConvolutions, channelBlock } from "../../../src/passes/backends/block-convolutions.ts";
import { runPass } from "../../../src/passes/pass.ts";
import { nodeProbe } from "../../../src/runtime/probe-node.ts";
import { maxAbs, randomFloats } from "../../helpers/numbers.ts";

const geometry = { strides: [2, 1], dilations: [1, 2], pads: [1, 2, 0, 2], group: 1 };

/** Two convolutions of one input; the weight of the second is constant. */
function model() {
  const graph = new Graph("convolutions", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "t/" });
  const shapes = { x: [2, 32, 24, 9], w: [48, 32, 3, 3], b: [48] };
  const [x, w, b] = Object.entries(shapes).map(([name, shape]) => graph.addInput(name, "float", shape));
  if (!x || !w || !b) throw new Error("no inputs");
  const y = g.conv(x, w, geometry);
  const withBias = g.op("Conv", [x, w, b], y.shape, {
    attributes: Object.fromEntries(y.producer?.attributes ?? []),
  });
  const constant = graph.addInitializer(
    Tensor.float("c", shapes.w, randomFloats("c", elementCount(shapes.w))),
  );
  for (const value of [y, withBias, g.conv(x, constant, geometry)]) graph.addOutput(typed(value));
  const feeds = new Map(
    Object.entries(shapes).map(([name, shape]) => [
      name,
      Tensor.float(name, shape, randomFloats(name, elementCount(shape))),
    ]),
  );
  return { graph, g, feeds };
}

test("a probe without the layout gives none", async () => {
  const refusing = { ...nodeProbe, run: () => Promise.reject(new Error("no such operator")) };
  expect(await channelBlock(refusing)).toBeUndefined();
  const wrongNumbers = {
    ...nodeProbe,
    run: async () => new Map([["y", Tensor.float("y", [64], new Float32Array(64))]]),
  };
  expect(await channelBlock(wrongNumbers)).toBeUndefined();
});

test("blocked convolutions give the same numbers; constant weights are left to ONNX Runtime", async ({
  skip,
}) => {
  const block = await channelBlock(nodeProbe);
  if (!block) return skip("this processor has no blocked layout");
  const run = async (graph: Graph, feeds: ReadonlyMap<string, Tensor>) =>
    [...(await nodeProbe.run(encodeModelProto(graphToProto(graph, { irVersion: 9 })), feeds)).values()].map(
      (t) => t.numbers(),
    );
  const plain = model();
  const expected = await run(plain.graph, plain.feeds);
  const blocked = model();
  const pass = blockConvolutions({ block });
  expect(await runPass(pass, blocked.graph, { emit: blocked.g, probe: nodeProbe })).toBe(2);
  const ops = blocked.graph.nodes.map(({ op }) => op);
  expect(ops.filter((op) => op === "Conv").length).toBe(1);
  expect(ops.filter((op) => op === "com.microsoft.nchwc.ReorderInput").length, "one reordering of x").toBe(1);
  const actual = await run(blocked.graph, blocked.feeds);
  expected.forEach((numbers, i) => {
    const differences = numbers.map((value, j) => value - (actual[i]?.[j] ?? Number.NaN));
    expect(maxAbs(differences) / maxAbs(numbers)).toBeLessThan(1e-5);
  });
});

/** Depthwise nodes, and how many of them go into blocks of 8 or 16 channels. */
const depthwiseCases: {
  readonly note: string;
  readonly shapes: readonly (readonly number[])[];
  readonly build: (g: Emit, inputs: Typed[]) => Typed;
  readonly taken: number;
}[] = [
  {
    note: "Conv, strided, asymmetric padding, bias",
    shapes: [[2, 32, 9, 7], [32, 1, 3, 5], [32]],
    build: (g, inputs) =>
      node(g, "Conv", inputs, [2, 32, 5, 8], { strides: [2, 1], pads: [1, 2, 1, 3], group: 32 }),
    taken: 1,
  },
  {
    note: "Conv, channels of the whole batch make whole blocks, dilated, bias",
    shapes: [[4, 12, 6, 5], [12, 1, 3, 3], [12]],
    build: (g, inputs) =>
      node(g, "Conv", inputs, [4, 12, 4, 3], { dilations: [2, 2], pads: [1, 1, 1, 1], group: 12 }),
    taken: 1,
  },
  {
    note: "Conv, no whole blocks",
    shapes: [
      [2, 12, 6, 5],
      [12, 1, 3, 3],
    ],
    build: (g, inputs) => node(g, "Conv", inputs, [2, 12, 4, 3], { group: 12 }),
    taken: 0,
  },
  {
    note: "Conv, two outputs per channel",
    shapes: [
      [2, 32, 6, 5],
      [64, 1, 3, 3],
    ],
    build: (g, inputs) => node(g, "Conv", inputs, [2, 64, 4, 3], { group: 32 }),
    taken: 0,
  },
  ...[32, 12].map((channels) => ({
    note: `the kernel's gradient, ${channels} channels`,
    shapes: [
      [4, channels, 8, 8],
      [4, channels, 4, 4],
    ],
    build: (g: Emit, [x, dy]: Typed[]) =>
      kernelGradient(g, x as Typed, dy as Typed, { ...halving, kernel: [3, 3] }, channels),
    taken: 1,
  })),
  {
    note: "the image's gradient: ConvTranspose",
    shapes: [
      [2, 32, 4, 4],
      [32, 1, 3, 3],
    ],
    build: (g, [dy, w]) => spreadWindows(g, dy as Typed, w as Typed, { ...halving, kernel: [3, 3] }, 32),
    taken: 1,
  },
  {
    note: "ConvTranspose, asymmetric, dilated",
    shapes: [
      [2, 32, 3, 4],
      [32, 1, 2, 3],
    ],
    build: (g, inputs) =>
      node(g, "ConvTranspose", inputs, [2, 32, 6, 16], {
        ...{ strides: [2, 3], dilations: [1, 2], pads: [0, 0, 1, 0], output_padding: [1, 2], group: 32 },
      }),
    taken: 1,
  },
  {
    note: "Conv between images with their channels last",
    shapes: [
      [2, 9, 7, 32],
      [32, 1, 3, 3],
    ],
    build: (g, [x, w]) => {
      const image = g.transpose(x as Typed, [0, 3, 1, 2]);
      const y = node(g, "Conv", [image, w as Typed], [2, 32, 7, 5], { group: 32 });
      return g.add(g.transpose(y, [0, 2, 3, 1]), g.reshape(y, [2, 7, 5, 32]));
    },
    taken: 1,
  },
  {
    note: "ConvTranspose, cropped by more than its kernel reaches",
    shapes: [
      [2, 32, 3, 4],
      [32, 1, 2, 2],
    ],
    build: (g, inputs) =>
      node(g, "ConvTranspose", inputs, [2, 32, 2, 4], { strides: [2, 2], pads: [2, 2, 2, 2], group: 32 }),
    taken: 0,
  },
];

const halving = {
  strides: [2, 2],
  dilations: [1, 1],
  begin: [1, 1],
  end: [1, 1],
  input: [8, 8],
  output: [4, 4],
};

function node(
  g: Emit,
  op: string,
  inputs: Typed[],
  shape: number[],
  attributes: Readonly<Record<string, number | number[]>>,
): Typed {
  const entries = Object.entries(attributes).map(([name, value]) => [
    name,
    typeof value === "number" ? int(value) : ints(value),
  ]);
  return g.op(op, inputs, shape, { attributes: Object.fromEntries(entries) });
}

/** How many Transposes have readers. */
const transposesOfImages = (graph: Graph) => {
  graph.prune();
  return graph.nodes.filter(({ op }) => op === "Transpose").length;
};

/** Gradients to an image: the weight is flipped, and its inputs and outputs differ in number. */
const flippedCases: typeof depthwiseCases = [
  [3, 3],
  [3, 1],
].map((kernel) => ({
  note: `the image's gradient, dense, kernel ${kernel.join("×")}`,
  shapes: [
    [4, 48, 8, 8],
    [48, 32, ...kernel],
  ],
  build: (g, [dy, w]) => {
    const begin = kernel.map((size) => (size - 1) / 2);
    const same = { ...halving, input: [8, 8], output: [8, 8], strides: [1, 1], begin, end: begin };
    return spreadWindows(g, dy as Typed, w as Typed, { ...same, kernel }, 1);
  },
  taken: 1,
}));

test.for([...depthwiseCases, ...flippedCases])(
  "gradients and depthwise in blocks: $note",
  async ({ note, shapes, build, taken }, { skip }) => {
    const block = await channelBlock(nodeProbe);
    if (!block) return skip("this processor has no blocked layout");
    const outputs = [];
    for (const blocked of [false, true]) {
      const graph = new Graph("depthwise", new Map([["", 18]]));
      const g = new Emit(graph, { prefix: "t/" });
      const inputs = shapes.map((shape, i) => typed(graph.addInput(`input${i}`, "float", [...shape])));
      graph.addOutput(build(g, inputs));
      const pass = blockConvolutions({ block });
      if (blocked) expect(await runPass(pass, graph, { emit: g, probe: nodeProbe })).toBe(taken);
      if (blocked && note.includes("channels last")) expect(transposesOfImages(graph)).toBe(0);
      graph.prune();
      if (blocked && note.includes("dense")) expect(graph.nodes.map(({ op }) => op)).not.toContain("Slice");
      const feeds = new Map(
        shapes.map((shape, i) => [
          `input${i}`,
          Tensor.float(`input${i}`, [...shape], randomFloats(`${i}`, elementCount(shape))),
        ]),
      );
      const bytes = encodeModelProto(graphToProto(graph, { irVersion: 9 }));
      outputs.push(...(await nodeProbe.run(bytes, feeds)).values());
    }
    const [plain, other] = outputs.map((tensor) => tensor.numbers());
    expect(outputs[1]?.dims).toEqual(outputs[0]?.dims);
    const differences = plain?.map((value, i) => value - (other?.[i] ?? Number.NaN)) ?? [];
    expect(maxAbs([...differences]) / maxAbs([...(plain ?? [])])).toBeLessThan(1e-5);
  },
);

test("taken: more weights for each position, if the image is large", async () => {
  const graph = new Graph("convolution", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "t/" });
  const inputs = [
    graph.addInput("x", "float", [8, 256, 14, 14]),
    graph.addInput("w", "float", [256, 256, 3, 3]),
  ] as const;
  graph.addOutput(g.conv(...inputs, { strides: [1, 1], dilations: [1, 1], pads: [1, 1, 1, 1], group: 1 }));
  expect(await runPass(blockConvolutions({ block: 16 }), graph, { emit: g, probe: nodeProbe })).toBe(1);
});

test("left alone: odd channels, groups, 1×1 kernels, few points, many weights", async () => {
  const cases = [
    { x: [2, 24, 16, 16], w: [32, 24, 3, 3], group: 1 },
    { x: [2, 32, 16, 16], w: [32, 16, 3, 3], group: 2 },
    { x: [2, 32, 16, 16], w: [32, 32, 1, 1], group: 1 },
    { x: [2, 32, 7, 7], w: [32, 32, 3, 3], group: 1 },
    { x: [1, 64, 16, 16], w: [64, 64, 3, 3], group: 1 },
    { x: [16, 256, 8, 8], w: [256, 256, 3, 3], group: 1 },
  ];
  for (const { x, w, group } of cases) {
    const graph = new Graph("convolution", new Map([["", 18]]));
    const g = new Emit(graph, { prefix: "t/" });
    const inputs = [graph.addInput("x", "float", x), graph.addInput("w", "float", w)] as const;
    graph.addOutput(g.conv(...inputs, { strides: [1, 1], dilations: [1, 1], pads: [1, 1, 1, 1], group }));
    const pass = blockConvolutions({ block: 16 });
    expect(await runPass(pass, graph, { emit: g, probe: nodeProbe })).toBe(0);
    expect(graph.opsets.size).toBe(1);
  }
});
