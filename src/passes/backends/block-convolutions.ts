import type { Probe } from "../../analysis/probe.ts";
import { int, ints } from "../../graph/attribute.ts";
import { Emit } from "../../graph/emit.ts";
import { type Typed, typed } from "../../graph/emit-base.ts";
import { Graph } from "../../graph/graph.ts";
import type { Node } from "../../graph/node.ts";
import { graphToProto } from "../../graph/proto.ts";
import { dimAt } from "../../graph/shapes.ts";
import { encodeModelProto } from "../../onnx/codec.ts";
import { elementCount, Tensor } from "../../onnx/tensor.ts";
import { changed, counted, definePass, unchanged } from "../pass.ts";

/**
 * ONNX Runtime's own domain of operators on tensors whose channels lie in blocks. On x86 it runs convolutions with
 * constant weights there; weights that are being trained are inputs, so it leaves them in the plain layout.
 */
const blockedDomain = "com.microsoft.nchwc";

/**
 * How many channels a block has in this ONNX Runtime on this machine: 16 with AVX-512, 8 with AVX. Found by looking at
 * a reordered tensor, and only believed if a convolution in that layout gives the plain one's numbers.
 * @returns undefined where there is no such layout (the web, other processors)
 */
export async function channelBlock(probe: Probe): Promise<number | undefined> {
  try {
    const block = await blockOfReordering(probe);
    return block && (await agrees(probe, block)) ? block : undefined;
  } catch {
    // A build without these operators refuses the model.
    return undefined;
  }
}

/** The layout is [channels/block, height, width, block]: element (0, 0, 0, 1) comes after one block. */
async function blockOfReordering(probe: Probe): Promise<number | undefined> {
  const [channels, width] = [32, 2];
  const graph = new Graph("layout", new Map([["", 18]]));
  const g = new Emit(graph, { prefix: "" });
  const x = typed(graph.addInput("x", "float", [1, channels, 1, width]));
  graph.addOutput(toBlocks(g, x));
  const count = channels * width;
  graph.opsets.set(blockedDomain, 1);
  const data = Tensor.float(
    "x",
    x.shape,
    Float32Array.from({ length: count }, (_, i) => i),
  );
  const [reordered] = (await probe.run(bytesOf(graph), new Map([["x", data]]))).values();
  const block = reordered?.numbers().indexOf(1);
  return block === 8 || block === 16 ? block : undefined;
}

/** Whether a convolution gives the same numbers in both layouts. */
async function agrees(probe: Probe, block: number): Promise<boolean> {
  const shapes = { x: [1, 2 * block, 9, 8], w: [2 * block, 2 * block, 3, 3] };
  const feeds = new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const numbers = Float32Array.from(
        { length: elementCount(shape) },
        (_, i) => ((i * 37) % 23) / 23 - 0.5,
      );
      return [name, Tensor.float(name, shape, numbers)];
    }),
  );
  const results = [false, true].map(async (blocked) => {
    const graph = new Graph("convolution", new Map([["", 18]]));
    const g = new Emit(graph, { prefix: "" });
    const [x, w] = [graph.addInput("x", "float", shapes.x), graph.addInput("w", "float", shapes.w)];
    graph.addOutput(g.conv(x, w, { strides: [1, 1], dilations: [1, 1], pads: [1, 1, 1, 1], group: 1 }));
    if (blocked && rewrite(graph, g, block) !== 1) return undefined;
    return [...(await probe.run(bytesOf(graph), feeds)).values()][0]?.numbers();
  });
  const [plain, other] = await Promise.all(results);
  return !!plain && plain.every((value, i) => Math.abs(value - (other?.[i] ?? Number.NaN)) < 1e-3);
}

const bytesOf = (graph: Graph) => encodeModelProto(graphToProto(graph, { irVersion: 9 }));

/**
 * Runs convolutions whose weights are computed or fed in the blocked layout: forward ones and those of gradients. For
 * the CPU of node. Measured on the shapes of docs/decisions.md: 1.1 to 2 times faster, reordering included.
 *
 *     y = Conv(x, w)  →  y = ReorderOutput(blocked.Conv(ReorderInput(x), blocked w))
 *
 * @returns how many convolutions it took
 */
export const blockConvolutions = definePass({
  name: "block-convolutions",
  options: {
    /** How many channels a block has: what {@link channelBlock} found. */
    block: 8,
  },
  run(graph, { block }, { emit }) {
    const taken = rewrite(graph, emit, block);
    return taken > 0
      ? changed(`${counted(taken, "convolution")} in blocks of ${block} channels`, taken)
      : unchanged("no convolution with a computed or fed weight is large enough, in whole blocks", taken);
  },
});

/** @returns how many convolutions it took */
function rewrite(graph: Graph, g: Emit, block: number): number {
  const taken = graph.nodes.filter((node) => isWorthwhile(node, block));
  for (const node of taken) {
    const [x, w, bias] = node.inputs;
    const [y] = node.outputs;
    if (!x || !w || !y) continue;
    const inputs = [toBlocks(g, typed(x)), weightInBlocks(g, typed(w), block), ...(bias ? [bias] : [])];
    const blocked = g.op("Conv", inputs, typed(y).shape, {
      domain: blockedDomain,
      attributes: { ...Object.fromEntries(node.attributes), kernel_shape: ints(typed(w).shape.slice(2)) },
    });
    graph.replaceUses(y, fromBlocks(g, blocked), { outputs: true });
  }
  if (taken.length > 0) graph.opsets.set(blockedDomain, 1);
  graph.removeNodes(new Set(taken));
  return taken.length;
}

/** Plain 2-D convolutions in whole blocks of channels, with more work than moving data takes. */
function isWorthwhile(node: Node, block: number): boolean {
  const [x, w] = node.inputs;
  const [y] = node.outputs;
  if (node.op !== "Conv" || node.int("group", 1) !== 1) return false;
  if (x?.type !== "float" || !x.shape || !w?.shape || !y?.shape || x.shape.length !== 4) return false;
  // ONNX Runtime blocks constant weights itself.
  if (w.initializer || node.string("auto_pad", "NOTSET") !== "NOTSET") return false;
  const [outputs, inputs] = [dimAt(w.shape, 0), dimAt(w.shape, 1)];
  const points = elementCount(y.shape.slice(2));
  const whole = outputs % block === 0 && inputs % block === 0;
  const windows = elementCount(w.shape.slice(2)) > 1;
  return whole && windows && points >= 64 && outputs * inputs < 16 * dimAt(x.shape, 0) * points;
}

/** x: [N, C, H, W] in the order [N, C/block, H, W, block]; its shape stays. */
const toBlocks = (g: Emit, x: Typed): Typed =>
  g.once(`blocks of ${x.name}`, () => g.op("ReorderInput", [x], x.shape, { domain: blockedDomain }));

const fromBlocks = (g: Emit, x: Typed): Typed =>
  g.op("ReorderOutput", [x], x.shape, {
    domain: blockedDomain,
    attributes: { channels: int(dimAt(x.shape, 1)) },
  });

/** w: [O, I, height, width] in the order [O/block, I/block, height, width, I block, O block]; its shape stays. */
function weightInBlocks(g: Emit, w: Typed, block: number): Typed {
  const [outputs, inputs, height, width] = w.shape as [number, number, number, number];
  return g.once(`blocks of weight ${w.name}`, () => {
    const split = g.reshape(w, [outputs / block, block, inputs / block, block, height, width]);
    return g.reshape(g.transpose(split, [0, 2, 4, 5, 3, 1]), w.shape);
  });
}
